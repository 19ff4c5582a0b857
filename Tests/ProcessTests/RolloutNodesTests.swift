#if Server && SQLite && Push
import ArtifactStore
import ClusterRole
import Foundation
import HTTPHandling
import HummingbirdHosting
import Logging
import ReeveManager
import ReeveWorker
import ServiceLifecycle
import XCTest

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Whole managers and workers over loopback: labels, versions and health travel, and a rollout follows them.
final class RolloutNodesTests: XCTestCase {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    private let channel: ChannelName = "site"

    func test_rollout_overTheLink_goesToTheLabelledWorkerFirst_andOnlyToThoseThatAreFit()
        async throws
    {
        let scene = try Nodes()
        let manager = try await scene.manager()
        try await scene.publish("one", on: manager)
        try await whileRunning(manager) {
            let workers = [
                try await scene.worker("worker-1", on: manager, labels: ["tier": "canary"]),
                try await scene.worker("worker-2", on: manager),
                try await scene.worker("worker-3", on: manager),
            ]
            try await self.whileRunning(workers) {
                let all = try await manager.rollouts.awaitApplied(
                    .first,
                    of: self.channel,
                    quorum: .count(3),
                    within: .seconds(60)
                )
                XCTAssertTrue(all.isReached, "\(all.progress)")
                let plan = ReleaseRolloutPlan(waves: [
                    ReleaseRolloutWave(
                        .labelled(["tier": "canary"]),
                        health: .reportedHealthy,
                        soak: .milliseconds(300)
                    )
                ])
                let rollout = try await manager.rollouts.start(plan, of: self.channel, by: "test")
                try await scene.publish("two", on: manager)
                let canary = try await manager.rollouts.awaitApplied(
                    ReleaseNumber(2),
                    of: self.channel,
                    quorum: .count(1),
                    within: .seconds(60)
                )
                XCTAssertEqual(canary.progress.laggards.map(\.node), ["worker-2", "worker-3"])
                let done = try await manager.rollouts.awaitApplied(
                    ReleaseNumber(2),
                    of: self.channel,
                    within: .seconds(60)
                )
                XCTAssertTrue(done.isReached, "\(done.progress)")
                try await self.eventually("the rollout is over") {
                    try await manager.rollouts.rollout(rollout.id).state == .completed
                }
                let health = try await manager.rollouts.status(of: rollout.id)
                XCTAssertEqual(health.waves.map(\.applied), [1, 2])
            }
        }
        scene.remove()
    }

    // MARK: - Running

    private func whileRunning(_ manager: ManagerNode, _ body: () async throws -> Void) async throws
    {
        try await running(manager, manager.configuration.logger, body)
    }

    private func whileRunning(_ workers: [WorkerNode], _ body: () async throws -> Void) async throws
    {
        guard let first = workers.first else { return try await body() }
        try await running(first.background, first.configuration.logger) {
            try await self.whileRunning(Array(workers.dropFirst()), body)
        }
    }

    private func running(
        _ service: some Service,
        _ logger: Logger,
        _ body: () async throws -> Void
    ) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [service], logger: logger)
        )
        let running = Task { try await group.run() }
        do {
            try await body()
        } catch {
            await group.triggerGracefulShutdown()
            try? await running.value
            throw error
        }
        await group.triggerGracefulShutdown()
        try await running.value
    }

    private func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end {
            if try await condition() { return }
            try await ContinuousClock().sleep(for: .milliseconds(20))
        }
        XCTFail("It never happened: \(what)")
    }

    /// Nodes in a directory of their own.
    private struct Nodes {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        let port: Int

        init() throws {
            port = try freePort()
            try FileManager.default.createDirectory(
                atPath: directory,
                withIntermediateDirectories: true
            )
        }

        func remove() { try? FileManager.default.removeItem(atPath: directory) }

        func manager() async throws -> ManagerNode {
            var configuration = ManagerConfiguration(
                node: "manager-1",
                directory: directory + "/manager"
            )
            configuration.address = .loopback(port: port)
            for index in 1...3 {
                configuration.identities["token-of-worker-number-\(index)"] = Identity(
                    name: "worker-\(index)",
                    permissions: [.link]
                )
            }
            configuration.logger = RolloutNodesTests.quiet
            return try await ManagerNode.open(configuration)
        }

        func worker(
            _ name: String,
            on manager: ManagerNode,
            labels: [String: String] = [:]
        ) async throws -> WorkerNode {
            var configuration = WorkerConfiguration(
                node: NodeID(rawValue: name),
                directory: directory + "/" + name
            )
            configuration.managers = ["http://127.0.0.1:\(port)"]
            configuration.token = "token-of-worker-number-\(name.suffix(1))"
            configuration.channels = ["site": DirectoryDeployer()]
            configuration.trusted = TrustedKeys(manager.publicKey)
            configuration.labels = labels
            configuration.abilities.softwareVersion = try SoftwareVersion(parsing: "2.1")
            configuration.healthInterval = .milliseconds(100)
            configuration.logger = RolloutNodesTests.quiet
            return try await WorkerNode.open(configuration)
        }

        func publish(_ text: String, on manager: ManagerNode) async throws {
            let source = "\(directory)/source-\(text)"
            try FileManager.default.createDirectory(
                atPath: source,
                withIntermediateDirectories: true
            )
            try text.write(toFile: "\(source)/index.html", atomically: true, encoding: .utf8)
            _ = try await manager.publisher.publish(source, to: "site")
        }
    }
}

/// A port of loopback that nobody has just now.
private func freePort() throws -> Int {
    #if canImport(Glibc)
    let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #else
    let handle = socket(AF_INET, SOCK_STREAM, 0)
    #endif
    defer { close(handle) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(handle, $0, length) == 0 && getsockname(handle, $0, &length) == 0
        }
    }
    guard isBound else { throw POSIXError(.EADDRNOTAVAIL) }
    return Int(UInt16(bigEndian: address.sin_port))
}
#endif
