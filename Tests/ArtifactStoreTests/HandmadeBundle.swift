import ArtifactStore
import ClusterRole

/// Bundles and manifests as somebody hostile would write them, byte by byte.
enum Handmade {
    static func variable(_ value: UInt64) -> [UInt8] {
        var rest = value
        var bytes: [UInt8] = []
        repeat {
            let low = UInt8(rest & 0x7F)
            rest >>= 7
            bytes.append(rest == 0 ? low : low | 0x80)
        } while rest != 0
        return bytes
    }

    static func blob(_ bytes: [UInt8]) -> [UInt8] { variable(UInt64(bytes.count)) + bytes }

    /// One entry of a manifest; `rest` is what follows path and mode.
    static func entry(_ kind: UInt8, _ path: [UInt8], _ mode: UInt64, _ rest: [UInt8]) -> [UInt8] {
        [kind] + blob(path) + variable(mode) + rest
    }

    static func folder(_ path: String) -> [UInt8] { entry(0, Array(path.utf8), 0o755, []) }

    static func file(_ path: [UInt8], _ content: String = "x", mode: UInt64 = 0o644) -> [UInt8] {
        let bytes = Array(content.utf8)
        let digest = ContentDigest(of: bytes).bytes
        return entry(1, path, mode, variable(UInt64(bytes.count)) + digest)
    }

    static func file(_ path: String) -> [UInt8] { file(Array(path.utf8)) }

    static func carried(_ path: [UInt8], size: UInt64) -> [UInt8] {
        entry(3, path, 0o644, variable(size))
    }

    static func link(_ path: String, _ target: [UInt8]) -> [UInt8] {
        entry(2, Array(path.utf8), 0o777, blob(target))
    }

    static func manifest(_ entries: [[UInt8]]) -> [UInt8] {
        [1] + variable(UInt64(entries.count)) + entries.joined()
    }

    static func header(_ root: TreeID, manifestBytes: Int64) -> [UInt8] {
        var bytes: [UInt8] = [2, 0] + root.digest.bytes
        for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: manifestBytes >> (8 * shift))) }
        return bytes
    }

    /// A plain frame that may lie about its length.
    static func frame(_ bytes: [UInt8], claims: UInt64? = nil, codec: UInt8 = 0) -> [UInt8] {
        let head =
            [1, codec] + variable(claims ?? UInt64(bytes.count)) + variable(UInt64(bytes.count))
            + [0]
        return [UInt8(head.count)] + head + bytes
    }

    static func end(_ streamBytes: Int) -> [UInt8] {
        let head = [255] + variable(UInt64(streamBytes))
        return [UInt8(head.count)] + head
    }

    static func bundle(_ root: TreeID, _ manifest: [UInt8], content: [UInt8] = []) -> [UInt8] {
        header(root, manifestBytes: Int64(manifest.count)) + frame(manifest)
            + (content.isEmpty ? [] : frame(content)) + end(manifest.count + content.count)
    }
}

/// Answers every question for a bundle with the same bytes.
struct HandmadeSource: ReleaseSource {
    let base: any ReleaseSource
    let bytes: [UInt8]

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        try await base.latestRelease(of: channel, tenant: tenant, unlessAt: revision)
    }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        ByteChunks([Array(bytes.dropFirst(Int(offset)))])
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {}
}
