internal import ClusterRole

/// Decides whom a worker believes about one channel. It knows no clock, no disk and no network.
///
/// Nothing is remembered before all of it was verified: a root record by the one before, a pointer
/// by its keys **and** by the release it names, against what was believed until then. So an answer
/// that is refused leaves nothing behind that could block the next good one.
struct TrustCore {
    let tenant: TenantID
    let channel: ChannelName
    private(set) var keys: TrustedKeys
    private(set) var pointer: SignedPointer?

    init(
        tenant: TenantID,
        channel: ChannelName,
        keys: TrustedKeys,
        pointer: SignedPointer? = nil
    ) {
        self.tenant = tenant
        self.channel = channel
        self.keys = keys
        self.pointer = pointer
    }

    /// Whether the source is to be asked for root records and a pointer.
    ///
    /// - Parameter offered: the release it just handed out; `nil` if that is still the same.
    func needsNews(of offered: SignedRelease?, at now: Timestamp) -> Bool {
        guard let held = pointer?.pointer else { return offered != nil || keys.needsPointers }
        if let offered, !held.names(offered) { return true }
        return now >= held.isWorn
    }

    /// Root records the source has, in turn. Those before the one in force are passed over.
    ///
    /// - Returns: whether another record is in force now.
    /// - Throws: as ``TrustedKeys/accept(_:)``. The records before the bad one are in force then.
    mutating func onRoots(_ roots: [SignedRoot]) throws(ArtifactStoreError) -> Bool {
        var hasChanged = false
        for next in roots where next.root.version > keys.version {
            do {
                try keys.accept(next)
                hasChanged = true
            } catch {
                guard hasChanged else { throw error }
                break
            }
        }
        if hasChanged, let held = pointer, !isBelieved(held) { pointer = nil }
        return hasChanged
    }

    /// The source offers this release, and with it a pointer if it had one.
    ///
    /// - Returns: the pointer to hold from now on.
    /// - Throws: ``ArtifactStoreError`` with code `untrustedSignature`, `expired`, `wrongChannel`,
    ///   `pointerExpired`, `belowFloor` or `unconfirmed`. Nothing changes then.
    func onOffer(
        _ signed: SignedRelease,
        with new: SignedPointer?,
        at now: Timestamp
    ) throws(ArtifactStoreError) -> SignedPointer? {
        try keys.verify(signed)
        try keys.checkExpiry(at: now)
        if let new {
            try check(new, at: now)
            guard new.pointer.names(signed) else {
                throw ArtifactStoreError(
                    .unconfirmed,
                    "The pointer names release \(new.pointer.number) and not the one that came with it. "
                        + "They do not belong together; both are fetched again."
                )
            }
            return new
        }
        guard let held = pointer, held.pointer.names(signed) else {
            guard keys.needsPointers else { return pointer }
            throw ArtifactStoreError(
                .unconfirmed,
                "Nobody confirms that release \(signed.release.number) is the newest. The source must "
                    + "hand out a pointer with it."
            )
        }
        try checkLife(of: held.pointer, at: now)
        return held
    }

    /// A pointer that came for the release that is held already.
    ///
    /// - Returns: whether it is one for that release, and is held now.
    mutating func onRenewal(
        of signed: SignedRelease,
        with new: SignedPointer,
        at now: Timestamp
    ) throws(ArtifactStoreError) -> Bool {
        try check(new, at: now)
        guard new.pointer.names(signed) else { return false }
        pointer = new
        return true
    }

    /// The pointer was believed together with its release.
    mutating func hold(_ new: SignedPointer?) { pointer = new }

    func freshness(at now: Timestamp) -> PointerFreshness {
        guard let expires = pointer?.pointer.expires else { return .unknown }
        return now < expires ? .confirmed(until: expires) : .expired(since: expires)
    }

    private func check(_ new: SignedPointer, at now: Timestamp) throws(ArtifactStoreError) {
        guard new.pointer.tenant == tenant, new.pointer.channel == channel else {
            throw ArtifactStoreError(
                .wrongChannel,
                "The pointer is for \(new.pointer.channel) of \(new.pointer.tenant), not for \(channel) "
                    + "of \(tenant)."
            )
        }
        try keys.verify(new)
        try checkLife(of: new.pointer, at: now)
        if let held = pointer?.pointer,
            new.pointer.number < held.number
                || (new.pointer.number == held.number && new.pointer.issued < held.issued)
        {
            throw ArtifactStoreError(
                .belowFloor,
                "The pointer to release \(new.pointer.number) is older than the one this node has seen."
            )
        }
    }

    private func checkLife(
        of pointer: ReleasePointer,
        at now: Timestamp
    ) throws(ArtifactStoreError) {
        guard now >= pointer.expires else { return }
        throw ArtifactStoreError(
            .pointerExpired,
            "The pointer to release \(pointer.number) expired at \(pointer.expires). The managers, or "
                + "somebody between, keep newer ones back; nothing new is taken until one comes."
        )
    }

    private func isBelieved(_ pointer: SignedPointer) -> Bool {
        (try? keys.verify(pointer)) != nil
    }
}

extension TrustCore {
    /// Version 1: anchor, root record, pointer; then the SHA-256 of it all.
    func encoded(anchor: ContentDigest) -> [UInt8] {
        var writer = ByteWriter(capacity: 1_024)
        writer.write(UInt8(1))
        writer.write(anchor)
        writer.write(optional: keys.root) { $0.write($1.encoded) }
        writer.write(optional: pointer) { $0.write($1.encoded) }
        writer.write(ContentDigest(of: writer.bytes))
        return writer.bytes
    }

    /// What was remembered, on top of what is configured.
    ///
    /// Other keys than those it began with are configured now: then it begins with them.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    init(
        decoding bytes: [UInt8],
        configured: TrustedKeys,
        tenant: TenantID,
        channel: ChannelName
    ) throws(ArtifactStoreError) {
        let length = bytes.count - ContentDigest.byteCount
        guard length > 0,
            try ContentDigest(bytes: bytes[length...]) == ContentDigest(of: Array(bytes[..<length]))
        else { throw .malformed("The remembered keys do not match their checksum.") }
        self.init(tenant: tenant, channel: channel, keys: configured)
        var reader = ByteReader(bytes[..<length])
        let parts: (anchor: ContentDigest, root: [UInt8]?, pointer: [UInt8]?)
        do {
            try reader.expectVersion(1, of: "remembered keys")
            let anchor = try reader.readDigest()
            let root = try reader.readOptional { (reader) throws(ClusterRoleError) in
                try reader.readBytes()
            }
            let pointer = try reader.readOptional { (reader) throws(ClusterRoleError) in
                try reader.readBytes()
            }
            try reader.expectEnd()
            parts = (anchor, root, pointer)
        } catch {
            throw .malformed("The remembered keys cannot be read.", cause: error)
        }
        guard parts.anchor == configured.anchor else { return }
        if let root = parts.root {
            keys = configured.remembering(try SignedRoot(decoding: root))
        }
        if let bytes = parts.pointer {
            let held = try SignedPointer(decoding: bytes)
            if held.pointer.tenant == tenant, held.pointer.channel == channel, isBelieved(held) {
                pointer = held
            }
        }
    }
}
