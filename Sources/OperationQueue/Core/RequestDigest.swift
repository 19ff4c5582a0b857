internal import ClusterRole
internal import DeviceRegistry

/// A stable digest of a request, to tell a repeated request from another one under the same key.
///
/// It is the 128-bit FNV-1a hash (draft-eastlake-fnv) of the request's canonical bytes: a version
/// byte, then each field as ``ByteWriter`` writes it, named devices sorted and each once. It is no
/// protection against an enemy and needs none: only who owns a key could profit from a collision,
/// and loses by it.
enum RequestDigest {
    private static let formatVersion: UInt8 = 1

    static func digest(of request: EnqueueRequest) -> [UInt8] {
        var writer = ByteWriter(capacity: 256 + request.payload.count)
        writer.write(formatVersion)
        switch request.target {
        case .devices(let devices):
            writer.write(1 as UInt8)
            writer.write(array: devices) { $0.write($1) }
        case .group(let group):
            writer.write(2 as UInt8)
            writer.write(group)
        }
        writer.write(request.code)
        writer.write(request.type.rawValue)
        writer.write(request.payload)
        writer.write(Int64(request.priority))
        writer.write(request.order.rawValue)
        writer.write(optional: request.expiresAfter) { $0.write($1) }
        writer.write(request.deliveryLease)
        writer.write(request.wake == .push)
        // Nothing for standard terms, so that a request of an earlier build has its old digest.
        let terms = request.terms
        var standard = OperationTerms()
        standard.wake = terms.wake
        if terms != standard { writer.write(terms.encoded) }
        return fnv1a(writer.bytes)
    }

    static func fnv1a(_ bytes: [UInt8]) -> [UInt8] {
        var hash: UInt128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d
        for byte in bytes {
            hash ^= UInt128(byte)
            // The prime is 2^88 + 0x13B.
            hash = (hash << 88) &+ (hash &* 0x13B)
        }
        return withUnsafeBytes(of: hash.bigEndian) { Array($0) }
    }
}
