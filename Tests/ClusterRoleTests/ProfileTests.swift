import ClusterRole
import Logging
import ServiceLifecycle
import Synchronization
import XCTest

final class ProfileTests: XCTestCase {
    private let offered: [(name: ComponentName, roles: Set<NodeRole>)] = [
        ("console", [.manager]), ("gateway", [.worker]), ("health", [.manager, .worker]),
    ]

    func test_profile_ofARole_startsWhatTheRoleAllows() throws {
        XCTAssertEqual(try Profile.manager.select(from: offered), [0, 2])
        XCTAssertEqual(try Profile.worker.select(from: offered), [1, 2])
        XCTAssertEqual(try Profile.combined.select(from: offered), [0, 1, 2])
    }

    func test_profile_thatNamesComponents_startsOnlyThose() throws {
        let profile = Profile("key-manager", role: .manager, starting: ["health"])
        XCTAssertEqual(try profile.select(from: offered), [2])
    }

    func test_profile_thatNamesAComponentOfAnotherRole_isRefused() {
        let profile = Profile("odd", role: .worker, starting: ["console"])
        XCTAssertThrowsError(try profile.select(from: offered)) {
            XCTAssertEqual(($0 as? ClusterRoleError)?.code, .wrongRole)
        }
    }

    func test_profile_thatNamesAnUnknownComponent_isRefused() {
        let profile = Profile("odd", role: .worker, starting: ["broker"])
        XCTAssertThrowsError(try profile.select(from: offered)) {
            XCTAssertEqual(($0 as? ClusterRoleError)?.code, .invalidProfile)
        }
    }

    func test_components_ofTheSameName_areRefused() {
        XCTAssertThrowsError(try Profile.manager.select(from: offered + offered)) {
            XCTAssertEqual(($0 as? ClusterRoleError)?.code, .invalidProfile)
        }
    }
}

final class ReeveNodeTests: XCTestCase {
    private final class Journal: Sendable {
        private let lines = Mutex<[String]>([])
        func note(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    private struct Part: Service {
        let name: String
        let journal: Journal
        let started: AsyncStream<Void>.Continuation

        func run() async throws {
            journal.note("run \(name)")
            started.yield()
            try await gracefulShutdown()
            journal.note("end \(name)")
        }
    }

    private struct Failing: Service {
        struct Failure: Error {}
        func run() async throws { throw Failure() }
    }

    func test_node_ofAWorker_neverMakesAManagersComponent() async throws {
        let journal = Journal()
        let (started, continuation) = AsyncStream.makeStream(of: Void.self)
        let node = try ReeveNode(
            id: NodeID(rawValue: "w1"),
            profile: .worker,
            components: [
                NodeComponent("console", roles: [.manager]) {
                    journal.note("made console")
                    return Part(name: "console", journal: journal, started: continuation)
                },
                NodeComponent("gateway", roles: [.worker]) {
                    Part(name: "gateway", journal: journal, started: continuation)
                },
            ]
        )
        XCTAssertEqual(node.startedComponents, ["gateway"])
        let group = ServiceGroup(
            configuration: .init(services: [node], logger: Logger(label: "test"))
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            for await _ in started { break }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        XCTAssertEqual(journal.all, ["run gateway", "end gateway"])
    }

    func test_node_whoseComponentFails_throwsItsError() async throws {
        let node = try ReeveNode(
            id: NodeID(rawValue: "m1"),
            profile: .manager,
            components: [NodeComponent("failing", roles: [.manager]) { Failing() }]
        )
        do {
            try await node.run()
            XCTFail("the node should have failed")
        } catch is Failing.Failure {}
    }
}
