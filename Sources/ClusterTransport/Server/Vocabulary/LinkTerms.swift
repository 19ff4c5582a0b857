#if Server
public import ClusterRole

/// What a manager asks of a worker that joins.
public struct LinkTerms: Hashable, Sendable {
    /// The versions of the link's messages the manager reads and writes.
    public var formats: ClosedRange<Int>
    /// The cluster: the domain without its part. `nil` for any.
    public var cluster: String?
    /// The codecs the manager's bundles are packed with. A worker unpacks all of them.
    public var codecs: Set<String>
    /// The tenants it serves; `nil` for any.
    public var tenants: Set<TenantID>?

    public init(
        formats: ClosedRange<Int> = LinkFormat.readable,
        cluster: String? = ClusterDomain.standard(for: .manager).domain,
        codecs: Set<String> = ["plain"],
        tenants: Set<TenantID>? = nil
    ) {
        self.formats = formats
        self.cluster = cluster
        self.codecs = codecs
        self.tenants = tenants
    }

    /// What differs between a worker's hello and these terms, a sentence each; empty if it may join. What
    /// an older worker does not say is not held against it.
    public func differences(of hello: LinkHello) -> [String] {
        var found: [String] = []
        // From outside: the two may stand in any order.
        let oldest = hello.oldestFormat ?? hello.format
        let spoken = min(oldest, hello.format)...max(oldest, hello.format)
        if !spoken.overlaps(formats) {
            found.append(
                "formats: it speaks versions \(spoken.lowerBound) to \(spoken.upperBound) of the link, "
                    + "this manager \(formats.lowerBound) to \(formats.upperBound)"
            )
        }
        let named = hello.domain.split(separator: "/", maxSplits: 1).first.map(String.init)
        if let cluster, named != cluster {
            found.append(
                "cluster: it belongs to \(named ?? "none"), this manager to \(cluster)"
            )
        }
        if let unpacked = hello.codecs {
            let missing = codecs.subtracting(unpacked).sorted()
            if !missing.isEmpty {
                found.append("codecs: it does not unpack \(missing.joined(separator: ", "))")
            }
        }
        if let tenants, let tenant = hello.tenant,
            !tenants.contains(TenantID(rawValue: tenant))
        {
            found.append("tenant: it serves \(tenant), which is none of this manager's")
        }
        return found
    }
}
#endif
