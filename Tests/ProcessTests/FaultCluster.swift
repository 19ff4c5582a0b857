#if Server && SQLite && Push && os(Linux)
import ClusterRole
import Foundation
import HTTPHandling
import Synchronization
import XCTest

@testable import reeve

/// A manager (node 0) and workers, each a process in a network namespace of its own, with a clock of its own.
final class FaultCluster: Sendable {
    static let group = "fleet"
    static let patience = Duration.seconds(90)

    let workers: Int
    let directory: URL
    let network: FaultNetwork
    private let clocks: [FaultClock]
    private let running = Mutex<[Int: ChildProcess]>([:])
    private let tokens: [String]
    private let secret = "the-secret-of-this-enrolment"

    init(workers: Int) throws {
        self.workers = workers
        let place = FileManager.default.temporaryDirectory
            .appendingPathComponent("reeve-faults-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        directory = place
        guard let library = try FaultClock.library(in: place) else {
            throw XCTSkip("clock jumps need clang, which comes with Swift")
        }
        clocks = try (0...workers).map {
            try FaultClock(
                library: library,
                file: place.appendingPathComponent("clock-\($0)")
            )
        }
        tokens = (0...workers).map { _ in UUID().uuidString }
        network = try FaultNetwork(workers + 1)
    }

    static func name(_ node: Int) -> String { node == 0 ? "manager-1" : "worker-\(node)" }

    private func base(_ node: Int) -> String { "http://\(network.address(node)):8180" }

    func client(
        _ node: Int,
        token: String? = nil,
        timeout: Duration = .milliseconds(1_500)
    ) -> JSONClient {
        JSONClient(
            base: base(node),
            token: token ?? tokens[node],
            timeout: timeout
        )
    }

    // MARK: Processes

    func startAll() async throws {
        for node in 0...workers {
            try write(configuration(of: node), of: node)
            try start(node)
        }
        for node in 0...workers { try await ready(node) }
    }

    private func configuration(of node: Int) -> [String: JSONValue] {
        var settings: [String: JSONValue] = [
            "node": .object([
                "id": .string(Self.name(node)),
                "directory": .string(directory.appendingPathComponent(Self.name(node)).path),
            ]),
            "listen": .object(["host": .string(network.address(node)), "port": 8_180]),
            "polling": .object(["frequency": 1]),
        ]
        if node == 0 {
            settings["admin"] = .object(["token": .string(tokens[0])])
            settings["enrolment"] = .object(["secret": .string(secret)])
            settings["link"] = .object([
                "tokens": .array(
                    (1...workers).map { .string("\(Self.name($0))=\(tokens[$0])") }
                )
            ])
        } else {
            settings["link"] = .object([
                "managers": .array([.string(base(0))]), "token": .string(tokens[node]),
            ])
            settings["exchange"] = .object(["perMinute": 0])
        }
        return settings
    }

    private func write(_ settings: [String: JSONValue], of node: Int) throws {
        try Data(JSONValue.object(settings).encoded()).write(to: file(node, "json"))
    }

    private func file(_ node: Int, _ kind: String) -> URL {
        directory.appendingPathComponent("\(Self.name(node)).\(kind)")
    }

    private func start(_ node: Int) throws {
        let (executable, first) =
            node == 0 ? (DemoCluster.ownExecutable, ["manager"]) : DemoCluster.workerExecutable
        let process = try ChildProcess(
            name: Self.name(node),
            executable: FaultNetwork.ip ?? "ip",
            // Both ip and env become the program: the process id stays.
            arguments: ["netns", "exec", network.namespace(node), "/usr/bin/env"]
                + clocks[node].environment + [executable] + first
                + ["--config", file(node, "json").path, "--exit-with-parent"],
            log: file(node, "log")
        )
        running.withLock { $0[node] = process }
    }

    private func ready(_ node: Int) async throws {
        try await eventually("\(Self.name(node)) to be ready") {
            if let ending = self.process(node)?.ending {
                throw DemoFailure("\(Self.name(node)) ended: \(ending)")
            }
            return (try? await self.client(node).get("/readyz")) != nil
        }
    }

    private func process(_ node: Int) -> ChildProcess? { running.withLock { $0[node] } }

    func signal(_ node: Int, _ number: Int32) { process(node)?.signal(number) }

    /// Kills a node and starts it again.
    func restart(_ node: Int) async throws {
        signal(node, SIGKILL)
        _ = try await process(node)?.waitForEnd(within: .seconds(10))
        try start(node)
        try await ready(node)
    }

    func jump(_ node: Int, by seconds: Int) throws { try clocks[node].jump(seconds) }

    /// Ends the processes and removes the network, whatever state they are in.
    func stop() async {
        for process in running.withLock({ Array($0.values) }) {
            process.signal(SIGKILL)
            _ = try? await process.waitForEnd(within: .seconds(10))
        }
        network.remove()
    }

    // MARK: Asking

    /// The revision a node stands at; `nil` if it does not answer.
    func revision(_ node: Int) async -> Revision? {
        let path = node == 0 ? "/admin/v1/status" : "/status"
        let text = try? await client(node).get(path)["revision"]?.stringValue
        return text.flatMap { try? Revision(parsing: $0) }
    }

    /// Enrols a device through a worker, whoever it is, and returns its credential.
    func enrol(_ device: String, through worker: Int) async throws -> String {
        var credential: String?
        try await eventually("\(device) to enrol") {
            let answer = try? await self.client(worker, token: "").post(
                "/device/v1/enrolments",
                .object([
                    "device": .string(device), "secret": .string(self.secret),
                    "groups": .array([.string(Self.group)]),
                ]),
                idempotencyKey: "enrol-\(device)"
            )
            credential = answer?["credential"]?.stringValue
            return credential != nil
        }
        return credential ?? ""
    }

    /// Enqueues one operation to every device; its key makes repeating it harmless.
    func enqueue(_ code: String) async throws -> String {
        var activity: String?
        try await eventually("\(code) to be enqueued") {
            let answer = try? await self.client(0).post(
                "/admin/v1/operations",
                .object([
                    "target": .object(["group": .string(Self.group)]),
                    "code": .string(code), "wake": "none",
                ]),
                idempotencyKey: code
            )
            activity = answer?["activity"]?.stringValue
            return activity != nil
        }
        return activity ?? ""
    }

    func eventually(
        _ what: String,
        _ condition: () async throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + Self.patience
        while ContinuousClock.now < deadline {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(30))
        }
        throw DemoFailure("waited \(Self.patience) for \(what)")
    }
}
#endif
