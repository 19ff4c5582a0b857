import ClusterRole
import ServiceLifecycle
import Synchronization
import XCTest

final class RoleSwitchTests: XCTestCase {
    /// A manager's half that does nothing but count its life.
    private final class Half: ManagingHalf {
        let epoch: Epoch
        let capability: WriteCapability
        private let cluster: Cluster
        private let failure = AsyncStream<Void>.makeStream()

        init(_ epoch: Epoch, _ cluster: Cluster) {
            self.epoch = epoch
            self.cluster = cluster
            capability = WriteCapability(epoch: epoch)
        }

        func revoke() { capability.revoke() }

        func close() async throws {
            revoke()
            cluster.change { $0.closed.insert(epoch) }
        }

        func fail() { failure.continuation.finish() }

        func run() async throws {
            cluster.change { $0.running += 1 }
            defer { cluster.change { $0.running -= 1 } }
            for await _ in failure.stream.cancelOnGracefulShutdown() {}
            if !Task.isShuttingDownGracefully { throw TestFailure() }
        }
    }

    private final class Cluster: Sendable {
        struct State {
            var running = 0
            var opened: [Half] = []
            var served = false
            var refuses = false
            var closed: Set<Epoch> = []
        }

        private let state = Mutex(State())

        func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }

        var running: Int { state.withLock { $0.running } }
        var opened: [Half] { state.withLock { $0.opened } }
        var closed: Set<Epoch> { state.withLock { $0.closed } }
        var served: Bool { state.withLock { $0.served } }

        func open() throws -> Half {
            try state.withLock { state in
                if state.refuses { throw TestFailure() }
                let half = Half(Epoch(rawValue: Int64(state.opened.count) + 1), self)
                state.opened.append(half)
                return half
            }
        }
    }

    private struct Serving: Service {
        let cluster: Cluster

        func run() async throws {
            cluster.change { $0.served = true }
            defer { cluster.change { $0.served = false } }
            try await gracefulShutdown()
        }
    }

    private func whileRunning(
        _ body: (RoleSwitch, Cluster) async throws -> Void
    ) async throws -> (RoleSwitch, Cluster) {
        let cluster = Cluster()
        let node = RoleSwitch(serving: Serving(cluster: cluster), logger: quiet) {
            try cluster.open()
        }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [node], logger: quiet)
        )
        let running = Task { try await group.run() }
        try await body(node, cluster)
        await group.triggerGracefulShutdown()
        try await running.value
        return (node, cluster)
    }

    private func eventually(_ condition: () -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while !condition() {
            guard ContinuousClock.now < end else { return XCTFail("it never happened") }
            try await ContinuousClock().sleep(for: .milliseconds(2))
        }
    }

    func test_node_promotedDemotedAndPromotedAgain_hasAHigherEpoch_andServesThroughout()
        async throws
    {
        let (node, cluster) = try await whileRunning { node, cluster in
            try await eventually { cluster.served }
            XCTAssertEqual(node.role, .worker)
            let first = try await node.promote()
            XCTAssertEqual(node.role, .combined)
            XCTAssertEqual(node.epoch, first)
            try await node.demote()
            XCTAssertEqual(node.role, .worker)
            XCTAssertEqual(cluster.running, 0, "the half has ended when demote returns")
            XCTAssertTrue(cluster.opened[0].capability.isRevoked)
            XCTAssertTrue(cluster.served)
            let second = try await node.promote()
            XCTAssertGreaterThan(second, first)
            XCTAssertTrue(cluster.served)
        }
        XCTAssertEqual(cluster.running, 0)
        XCTAssertTrue(cluster.opened[1].capability.isRevoked, "the end of the node revokes")
        XCTAssertEqual(node.role, .worker)
        XCTAssertEqual(cluster.closed, Set(cluster.opened.map(\.epoch)))
    }

    func test_node_demotedAtOnceManyTimes_closesEveryHalfItOpened() async throws {
        let (_, cluster) = try await whileRunning { node, cluster in
            for _ in 0..<50 {
                try await node.promote()
                try await node.demote()
                XCTAssertEqual(cluster.closed.count, cluster.opened.count)
            }
        }
        XCTAssertEqual(cluster.opened.count, 50)
        XCTAssertEqual(cluster.running, 0)
    }

    func test_changes_thatMakeNoSense_areRefusedByTheirCode() async throws {
        let (node, _) = try await whileRunning { node, _ in
            let early = await clusterRoleError { try await node.demote() }
            XCTAssertEqual(early?.code, .wrongTransition)
            try await node.promote()
            let twice = await clusterRoleError { try await node.promote() }
            XCTAssertEqual(twice?.code, .wrongTransition)
            XCTAssertEqual(twice?.category, .conflict)
        }
        let late = await clusterRoleError { try await node.promote() }
        XCTAssertEqual(late?.code, .wrongTransition)
    }

    func test_promotion_thatCannotOpen_throwsWhy_andLeavesAWorker() async throws {
        _ = try await whileRunning { node, cluster in
            cluster.change { $0.refuses = true }
            do {
                try await node.promote()
                XCTFail("it was promoted")
            } catch { XCTAssertTrue(error is TestFailure) }
            XCTAssertEqual(node.role, .worker)
            cluster.change { $0.refuses = false }
            try await node.promote()
            XCTAssertEqual(node.role, .combined)
        }
    }

    func test_managersHalf_thatFails_leavesAWorkerThatCanBePromotedAgain() async throws {
        _ = try await whileRunning { node, cluster in
            try await node.promote()
            cluster.opened[0].fail()
            try await eventually { node.role == .worker }
            XCTAssertTrue(cluster.opened[0].capability.isRevoked)
            XCTAssertTrue(cluster.served)
            let epoch = try await node.promote()
            XCTAssertEqual(epoch, Epoch(rawValue: 2))
        }
    }
}
