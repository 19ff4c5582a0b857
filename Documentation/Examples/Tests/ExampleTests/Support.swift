import Foundation
import Logging
import ServiceLifecycle
import XCTest

let quiet = Logger(label: "examples") { _ in SwiftLogNoOpLogHandler() }

/// A directory that goes away with the test.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        let name = "reeve-examples-\(UUID().uuidString)"
        path = FileManager.default.temporaryDirectory.appending(path: name).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Makes a tree of one page.
    func pages(_ text: String) throws -> String {
        let tree = "\(path)/pages-\(text)"
        try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: true)
        try text.write(toFile: "\(tree)/index.html", atomically: true, encoding: .utf8)
        return tree
    }
}

/// Runs a service while `body` runs, then shuts it down gracefully.
func running(_ service: any Service, _ body: () async throws -> Void) async throws {
    let group = ServiceGroup(
        configuration: ServiceGroupConfiguration(services: [service], logger: quiet)
    )
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await group.run() }
        do {
            try await body()
        } catch {
            await group.triggerGracefulShutdown()
            throw error
        }
        await group.triggerGracefulShutdown()
        try await tasks.waitForAll()
    }
}
