public import ClusterRole

/// A record that names one tree by digest: what a channel consists of, and what is signed.
public struct Release: Hashable, Sendable {
    /// Whose channel it is; a node takes releases of its own tenant only.
    public let tenant: TenantID
    /// The line of releases it belongs to.
    public let channel: ChannelName
    /// What the tree is, and so which deployer loads it.
    public let kind: ArtifactKind
    /// Its place in the channel.
    public let number: ReleaseNumber
    /// The tree.
    public let root: TreeID
    /// The tree's files: how many, and their bytes.
    public let fileCount: Int
    public let totalBytes: Int64
    /// The length of the encoded manifest, so that a worker knows it before it allocates.
    public let manifestBytes: Int64
    /// The tree of the release before; `nil` for a channel's first.
    public let previousRoot: TreeID?
    /// When it was signed, by the publisher's clock.
    public let created: Timestamp
    /// From then on no node accepts it any more. What was accepted before goes on being served.
    public let expires: Timestamp?
    /// The key of the publisher. More keys may sign, ``SignedRelease/signatures`` has all.
    public let key: SigningKeyID
    /// What links the publisher let into the tree.
    public let links: LinkPolicy
    /// The channels of the same tenant it needs: sorted, none twice, never its own.
    public let dependencies: [ReleaseDependency]
    /// What a node must be able to do to be offered it.
    public let requirements: ReleaseRequirements
    /// Who published it, in the publisher's own words.
    public let publisher: PublisherName?

    /// A record to be signed; sizes are taken from the tree. A channel that is named twice among
    /// the dependencies is needed at the higher of both numbers. ``validate()`` checks the rest.
    public init(
        tenant: TenantID,
        channel: ChannelName,
        kind: ArtifactKind,
        number: ReleaseNumber,
        tree: TreeManifest,
        previousRoot: TreeID?,
        created: Timestamp,
        expires: Timestamp?,
        key: SigningKeyID,
        links: LinkPolicy,
        dependencies: [ReleaseDependency] = [],
        requirements: ReleaseRequirements = .none,
        publisher: PublisherName? = nil
    ) {
        self.init(
            tenant: tenant,
            channel: channel,
            kind: kind,
            number: number,
            root: tree.id,
            fileCount: tree.fileCount,
            totalBytes: tree.totalBytes,
            manifestBytes: Int64(tree.encoded.count),
            previousRoot: previousRoot,
            created: created,
            expires: expires,
            key: key,
            links: links,
            dependencies: dependencies,
            requirements: requirements,
            publisher: publisher
        )
    }

    /// A record of a tree of which only the id and the sizes are known.
    public init(
        tenant: TenantID,
        channel: ChannelName,
        kind: ArtifactKind,
        number: ReleaseNumber,
        root: TreeID,
        fileCount: Int,
        totalBytes: Int64,
        manifestBytes: Int64,
        previousRoot: TreeID?,
        created: Timestamp,
        expires: Timestamp?,
        key: SigningKeyID,
        links: LinkPolicy,
        dependencies: [ReleaseDependency] = [],
        requirements: ReleaseRequirements = .none,
        publisher: PublisherName? = nil
    ) {
        self.tenant = tenant
        self.channel = channel
        self.kind = kind
        self.number = number
        self.root = root
        self.fileCount = fileCount
        self.totalBytes = totalBytes
        self.manifestBytes = manifestBytes
        self.previousRoot = previousRoot
        self.created = created
        self.expires = expires
        self.key = key
        self.links = links
        var lowest: [ChannelName: ReleaseNumber] = [:]
        for need in dependencies {
            lowest[need.channel] = max(need.lowest, lowest[need.channel] ?? need.lowest)
        }
        self.dependencies = lowest.map { ReleaseDependency($0, atLeast: $1) }.sorted()
        self.requirements = requirements
        self.publisher = publisher
    }

    /// The canonical binary form, which is what is signed. Version 2:
    /// tenant, channel, kind, number, root, file count, bytes, manifest bytes, previous root,
    /// created, expires, key, links, dependencies (channel, number), capabilities, software
    /// version, publisher; integers as LEB128, text and blobs with their length before them.
    ///
    /// Version 1, which ends after the links, is still read.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 256)
        writer.write(Self.version)
        writer.write(tenant.rawValue)
        writer.write(channel.rawValue)
        writer.write(kind.rawValue)
        writer.write(number.rawValue)
        writer.write(root.digest)
        writer.write(Int64(fileCount))
        writer.write(totalBytes)
        writer.write(manifestBytes)
        writer.write(optional: previousRoot) { $0.write($1.digest) }
        writer.write(created.rawValue)
        writer.write(optional: expires) { $0.write($1.rawValue) }
        writer.write(key.rawValue)
        writer.write(links == .allowAbsolute ? UInt8(1) : UInt8(0))
        writer.write(array: dependencies) { writer, need in
            writer.write(need.channel.rawValue)
            writer.write(need.lowest.rawValue)
        }
        writer.write(array: requirements.capabilities) { $0.write($1.rawValue) }
        writer.write(optional: requirements.softwareVersion) { $0.write($1.description) }
        writer.write(optional: publisher) { $0.write($1.rawValue) }
        return writer.bytes
    }

    static let version: UInt8 = 2
    /// The most channels a release can need.
    public static let maximumDependencies = 16

    /// Checks what a record must keep to beyond its types: names as they must be written, numbers
    /// and sizes in range, limits kept, and no dependency on its own channel.
    ///
    /// Signing and decoding do it; call it to learn of a mistake before there is a tree.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed`, `invalidName`, `limitExceeded` or
    ///   `dependencyCycle`.
    public func validate() throws(ArtifactStoreError) {
        _ = try ChannelName(validating: channel.rawValue)
        guard number >= .first, totalBytes >= 0, manifestBytes > 0 else {
            throw .malformed("The release record has a number or size out of range.")
        }
        try Self.validate(dependencies, of: channel)
        try requirements.validate()
        do {
            if let publisher { _ = try PublisherName(validating: publisher.rawValue) }
        } catch {
            throw ArtifactStoreError(.invalidName, error.message, cause: error)
        }
    }

    static func validate(
        _ dependencies: [ReleaseDependency],
        of channel: ChannelName
    ) throws(ArtifactStoreError) {
        guard dependencies.count <= maximumDependencies else {
            throw ArtifactStoreError(
                .limitExceeded,
                "A release needs at most \(maximumDependencies) other channels. Name the nearest ones; "
                    + "those name theirs."
            )
        }
        for need in dependencies {
            _ = try ChannelName(validating: need.channel.rawValue)
            guard need.lowest >= .first else {
                throw ArtifactStoreError(
                    .invalidName,
                    "The lowest release of \(need.channel) that is needed is 1 or more."
                )
            }
            guard need.channel != channel else {
                throw ArtifactStoreError(
                    .dependencyCycle,
                    "A release of \(channel) cannot need \(channel) itself. Remove that dependency."
                )
            }
        }
    }
}

extension ReleaseRequirements {
    func validate() throws(ArtifactStoreError) {
        guard capabilities.count <= Self.maximumCapabilities else {
            throw ArtifactStoreError(
                .limitExceeded,
                "A release asks for at most \(Self.maximumCapabilities) capabilities."
            )
        }
        for name in capabilities {
            do {
                _ = try CapabilityName(validating: name.rawValue)
            } catch {
                throw ArtifactStoreError(.invalidName, error.message, cause: error)
            }
            guard name.rawValue.utf8.count <= CapabilityName.maximumBytes else {
                throw ArtifactStoreError(
                    .invalidName,
                    "A capability has at most \(CapabilityName.maximumBytes) bytes."
                )
            }
        }
    }
}

extension Release {
    /// Decodes ``encoded``, or version 1 of it. It says nothing about the signature.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed`, or as ``validate()``.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        do {
            let version = try reader.expectVersion(1...Self.version, of: "release records")
            tenant = try TenantID(validating: reader.readString())
            channel = ChannelName(rawValue: try reader.readString())
            kind = try ArtifactKind(validating: reader.readString())
            number = ReleaseNumber(try reader.readInt64())
            root = TreeID(try reader.readDigest())
            let files = try reader.readInt64()
            totalBytes = try reader.readInt64()
            manifestBytes = try reader.readInt64()
            previousRoot = try reader.readOptional { (reader) throws(ClusterRoleError) in
                TreeID(try reader.readDigest())
            }
            created = Timestamp(rawValue: try reader.readInt64())
            expires = try reader.readOptional { (reader) throws(ClusterRoleError) in
                Timestamp(rawValue: try reader.readInt64())
            }
            key = SigningKeyID(rawValue: try reader.readString())
            let linkCode = try reader.readByte()
            guard linkCode <= 1, files >= 0, files <= Int64(Int.max) else {
                throw ClusterRoleError(.malformed, "A field is out of range.")
            }
            fileCount = Int(files)
            links = linkCode == 1 ? .allowAbsolute : .insideTree
            if version == 1 {
                (dependencies, requirements, publisher) = ([], .none, nil)
            } else {
                dependencies = try Self.readDependencies(&reader)
                requirements = try ReleaseRequirements(from: &reader)
                publisher = try reader.readOptional { (reader) throws(ClusterRoleError) in
                    PublisherName(rawValue: try reader.readString())
                }
            }
            try reader.expectEnd()
        } catch {
            throw .malformed("The release record cannot be read.", cause: error)
        }
        try validate()
    }

    private static func readDependencies(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> [ReleaseDependency] {
        let list = try reader.readArray(elementSize: 2) { (reader) throws(ClusterRoleError) in
            let channel = ChannelName(rawValue: try reader.readString())
            return ReleaseDependency(channel, atLeast: ReleaseNumber(try reader.readInt64()))
        }
        // One record, one spelling.
        guard zip(list, list.dropFirst()).allSatisfy({ $0.channel < $1.channel }) else {
            throw ClusterRoleError(.malformed, "The dependencies are not sorted.")
        }
        return list
    }
}

extension ReleaseRequirements {
    fileprivate init(from reader: inout ByteReader) throws(ClusterRoleError) {
        let names = try reader.readArray { (reader) throws(ClusterRoleError) in
            CapabilityName(rawValue: try reader.readString())
        }
        let version = try reader.readOptional { (reader) throws(ClusterRoleError) in
            let text = try reader.readString()
            guard let version = try? SoftwareVersion(parsing: text), version.description == text
            else { throw ClusterRoleError(.malformed, "The software version is misspelt.") }
            return version
        }
        guard zip(names, names.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw ClusterRoleError(.malformed, "The capabilities are not sorted.")
        }
        self.init(capabilities: names, softwareVersion: version)
    }
}
