#if Server && SQLite && Push
import Foundation
import XCTest

/// Permission is a type: what a worker must not do does not compile.
///
/// Each snippet is checked by the compiler against the modules this test was built with. The first
/// test is the control: the same snippets with the manager's types compile.
final class NegativeCompileTests: XCTestCase {
    func test_manager_thatEnqueuesAndPublishes_compiles() throws {
        let diagnostics = try typecheck(
            """
            func enqueue(_ operations: OperationEnqueuer) async throws {
                _ = try await operations.enqueue(
                    EnqueueRequest(OperationCode(rawValue: "lock"), to: .group(.everyone)),
                    tenant: .standard)
            }
            func publish(_ releases: any ReleaseWriter) async throws {
                _ = try await releases.publish(
                    "/srv/site", to: "web", tenant: .standard, options: PublishOptions())
            }
            """
        )
        XCTAssertEqual(diagnostics, "")
    }

    func test_worker_thatEnqueues_doesNotCompile() throws {
        let diagnostics = try typecheck(
            """
            func enqueue(_ work: any PendingWorkReader) async throws {
                _ = try await work.enqueue(
                    EnqueueRequest(OperationCode(rawValue: "lock"), to: .group(.everyone)),
                    tenant: .standard)
            }
            """
        )
        XCTAssertTrue(diagnostics.contains("has no member 'enqueue'"), diagnostics)
    }

    func test_worker_thatPublishes_doesNotCompile() throws {
        let diagnostics = try typecheck(
            """
            func publish(_ releases: any ReleaseReader) async throws {
                _ = try await releases.publish(
                    "/srv/site", to: "web", tenant: .standard, options: PublishOptions())
            }
            """
        )
        XCTAssertTrue(diagnostics.contains("has no member 'publish'"), diagnostics)
    }

    func test_workerNode_hasNoWriters() throws {
        for member in ["operations", "publisher", "administration"] {
            let diagnostics = try typecheck(
                "import ReeveWorker\nfunc write(_ node: WorkerNode) { _ = node.\(member) }"
            )
            XCTAssertTrue(diagnostics.contains("has no member '\(member)'"), diagnostics)
        }
    }

    func test_reader_thatChangesDevices_doesNotCompile() throws {
        let diagnostics = try typecheck(
            """
            func remove(_ devices: DeviceDirectory) async throws {
                try await devices.remove(DeviceID(rawValue: "d"), tenant: .standard)
            }
            """
        )
        XCTAssertTrue(diagnostics.contains("has no member 'remove'"), diagnostics)
    }

    func test_readersOfTheAuditLogAndOfIdentities_cannotWrite() throws {
        let snippets = [
            ("append", "func f(_ log: AuditReader) async throws { try await log.append([]) }"),
            ("begin", "func f(_ log: AuditReader, _ r: AuditRecord) async { _ = log.begin(r) }"),
            (
                "purgeAudit",
                "func f(_ log: any AuditLogReader) async { _ = log.purgeAudit() }"
            ),
            ("revoke", "func f(_ who: IdentityDirectory) async { who.revoke(\"ann\") }"),
            ("create", "func f(_ who: IdentityDirectory) async { who.create(\"ann\") }"),
            ("setOwner", "func f(_ devices: OwnedDevices) async { devices.setOwner(nil) }"),
        ]
        for (member, snippet) in snippets {
            let diagnostics = try typecheck(snippet)
            XCTAssertTrue(diagnostics.contains("has no member '\(member)'"), diagnostics)
        }
    }

    /// What the compiler says about a snippet; empty when it compiles.
    private func typecheck(_ snippet: String) throws -> String {
        let products = try BuiltProducts.directory()
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(
            "snippet-\(ProcessInfo.processInfo.globallyUniqueString).swift"
        )
        defer { try? FileManager.default.removeItem(at: file) }
        let imports = [
            "ArtifactStore", "ClusterRole", "DeviceRegistry", "NotificationDispatch",
            "OperationQueue",
        ].map { "import \($0)\n" }.joined()
        try (imports + snippet).write(to: file, atomically: false, encoding: .utf8)

        var arguments = [
            "swiftc", "-typecheck", "-swift-version", "6", "-I", products.path + "/Modules",
        ]
        for map in moduleMaps(products) { arguments += ["-Xcc", "-fmodule-map-file=\(map)"] }
        return try BuiltProducts.run("/usr/bin/env", arguments + [file.path])
    }
}

extension NegativeCompileTests {
    /// The maps of C modules: made by the build, or shipped by a dependency. Those made for plugins are the same
    /// modules once more.
    private func moduleMaps(_ products: URL) -> [String] {
        let files = FileManager.default
        let made = ((try? files.contentsOfDirectory(atPath: products.path)) ?? [])
            .filter { $0.hasSuffix(".build") && !$0.hasSuffix("-tool.build") }
            .map { "\(products.path)/\($0)/module.modulemap" }
        var checkouts = products
        while checkouts.lastPathComponent != ".build", checkouts.path != "/" {
            checkouts.deleteLastPathComponent()
        }
        checkouts.appendPathComponent("checkouts")
        let shipped = ((try? files.contentsOfDirectory(atPath: checkouts.path)) ?? [])
            .flatMap { package -> [String] in
                let sources = "\(checkouts.path)/\(package)/Sources"
                return ((try? files.contentsOfDirectory(atPath: sources)) ?? [])
                    .flatMap { target in
                        ["\(sources)/\(target)", "\(sources)/\(target)/include"]
                    }
                    .map { "\($0)/module.modulemap" }
            }
        return (made + shipped).filter { files.fileExists(atPath: $0) }.sorted()
    }
}

/// Where the package's products are: beside the test bundle.
enum BuiltProducts {
    static func directory() throws -> URL {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: own).deletingLastPathComponent()
    }

    /// Runs a program and returns what it wrote to both of its outputs, trimmed.
    static func run(_ executable: String, _ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
#endif
