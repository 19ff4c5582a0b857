#if SQLite
import Foundation
import Logging

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A directory of its own for each test, removed when it ends. In memory where the system has such a
/// place: what a disk would keep is worked out from the recorded writes, not from it.
final class TestDirectory: Sendable {
    let path: String

    init() throws {
        let memory = "/dev/shm"
        let isWritable = FileManager.default.isWritableFile(atPath: memory)
        let parent = isWritable ? memory : FileManager.default.temporaryDirectory.path
        path = parent + "/reeve-faults-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A directory inside it.
    func folder(_ name: String) throws -> String {
        let folder = path + "/" + name
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        return folder
    }
}
#endif
