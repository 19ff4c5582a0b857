#if Server && SQLite
internal import ClusterRole
internal import Foundation

/// The directory of one node: made with access for its owner only.
struct NodeDirectory {
    private let root: String

    init(_ root: String) { self.root = root.hasSuffix("/") ? String(root.dropLast()) : root }

    func path(_ name: String) -> String { "\(root)/\(name)" }

    func make() throws {
        for name in [root, path("scratch")] {
            try FileManager.default.createDirectory(
                atPath: name,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
        }
    }

    func write(_ text: String, to name: String) throws {
        try text.write(toFile: path(name), atomically: true, encoding: .utf8)
    }

    /// A key of 32 random bytes, made on first use and readable by its owner only.
    func key(_ name: String, random: any RandomSource) throws -> [UInt8] {
        let file = path(name)
        if let data = FileManager.default.contents(atPath: file) { return Array(data) }
        let bytes = random.bytes(32)
        let isMade = FileManager.default.createFile(
            atPath: file,
            contents: Data(bytes),
            attributes: [.posixPermissions: 0o600]
        )
        guard isMade else {
            throw ManagerConfigurationError(
                "The file \(file) cannot be written. Check the directory."
            )
        }
        return bytes
    }
}
#endif
