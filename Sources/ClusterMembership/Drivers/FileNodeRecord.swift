internal import ClusterRole
internal import FoundationEssentials

/// A ``NodeRecord`` in a file of its own, written beside and renamed.
///
/// It survives the process, also when that is killed. After a power cut the version before may be
/// there: what is kept here is repeated, acknowledged or fetched again then. A file that does not match
/// its checksum counts as none.
public struct FileNodeRecord: NodeRecord {
    private let path: String

    /// - Parameter path: absolute; the directory exists and belongs to the node.
    public init(path: String) { self.path = path }

    public func load() async throws -> [UInt8]? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let bytes = Array(try Data(contentsOf: URL(filePath: path)))
        guard bytes.count >= 8 else { return nil }
        let body = Array(bytes.dropLast(8))
        return Self.sum(of: body) == Array(bytes.suffix(8)) ? body : nil
    }

    public func save(_ bytes: [UInt8]) async throws {
        try Data(bytes + Self.sum(of: bytes)).write(to: URL(filePath: path), options: .atomic)
    }

    /// FNV-1a: it finds accidents, not forgers.
    private static func sum(of bytes: [UInt8]) -> [UInt8] {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return withUnsafeBytes(of: hash.littleEndian) { Array($0) }
    }
}
