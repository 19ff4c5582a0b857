import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

/// Groups defined by queries, liveness and history, through the façades and on a cluster in memory.
final class DynamicGroupTests: XCTestCase {
    private func tell(
        _ cluster: InMemoryCluster,
        _ device: DeviceIdentity,
        _ kind: InformationKind,
        _ json: String
    ) async throws {
        _ = try await cluster.operations.apply(
            [
                SpooledEntry(
                    number: 1,
                    entry: InboxEntry(
                        identity: device,
                        receivedAt: cluster.time.now(),
                        body: .information(kind, body: Array(json.utf8))
                    )
                )
            ],
            from: nil,
            epoch: cluster.capability.epoch,
            at: cluster.time.now()
        )
    }

    private func assertThrows<Value>(
        _ code: DeviceRegistryError.Code,
        line: UInt = #line,
        _ body: () async throws -> Value
    ) async {
        do {
            _ = try await body()
            XCTFail("nothing was thrown", line: line)
        } catch {
            XCTAssertEqual((error as? DeviceRegistryError)?.code, code, "\(error)", line: line)
        }
    }

    func test_definition_thatFailsHalfWay_isFinishedByTheTask() async throws {
        let cluster = InMemoryCluster()
        for index in 0..<2_500 {
            let id = DeviceID(rawValue: "d-\(10_000 + index)")
            _ = try await cluster.administration.enrol(id)
        }
        let group: GroupID = "bare"
        // The definition is the first commit, then three pages follow.
        cluster.faults.failCall(2_500 + 3, of: .commit)
        await assertThrows(.storage) {
            try await cluster.administration.define(
                group,
                as: DeviceQuery(parsing: "not exists os")
            )
        }
        let halfWay = try await cluster.devices.groups(tenant: .standard)
        XCTAssertEqual(halfWay.first { $0.group == group }?.members, 1_000)
        XCTAssertEqual(halfWay.first { $0.group == group }?.isSettled, false)
        let task = DynamicGroupTask(
            storage: cluster.devices,
            capability: cluster.capability,
            clock: cluster.time
        )
        let finished = try await task.tick(at: cluster.time.now())
        XCTAssertEqual(finished, 1)
        let done = try await cluster.devices.groups(tenant: .standard)
        XCTAssertEqual(done.first { $0.group == group }?.members, 2_500)
        let again = try await task.tick(at: cluster.time.now())
        XCTAssertEqual(again, 0)
    }

    func test_definition_whatCannotDefineAGroup_isRefused() async throws {
        let cluster = InMemoryCluster()
        let administration = cluster.administration
        await assertThrows(.reservedGroup) {
            try await administration.define(.everyone, as: .exists("x"))
        }
        await assertThrows(.invalidQuery) {
            try await administration.define("g", as: .not(.liveness(.active)))
        }
        await assertThrows(.invalidQuery) { try await administration.define("g", as: .and([])) }
        await assertThrows(.invalidRequest) {
            try await administration.define("a b", as: .exists("x"))
        }
        await assertThrows(.unknownGroup) { try await administration.undefine("g") }
        let receipt = try await administration.define("g", as: .exists("x"))
        XCTAssertEqual(receipt.evaluated, 0)
        let device = try await cluster.enrol("d")
        await assertThrows(.dynamicGroup) { try await administration.join("g", [device.device]) }
        try await tell(cluster, device, .properties, #"{"x":1}"#)
        try await administration.undefine("g")
        try await administration.leave("g", [device.device])
        let groups = try await cluster.devices.groups(tenant: .standard)
        XCTAssertEqual(groups.map(\.members), [1, 0])
    }

    func test_anOperationForADefinedGroup_reachesItsMembersOfThatMoment() async throws {
        let cluster = InMemoryCluster()
        let old = try await cluster.enrol("old")
        let new = try await cluster.enrol("new")
        try await tell(cluster, old, .properties, #"{"os":{"version":"9"}}"#)
        try await tell(cluster, new, .properties, #"{"os":{"version":"17.2"}}"#)
        try await cluster.administration.define(
            "modern",
            as: DeviceQuery(parsing: #"os.version >= "17""#)
        )
        _ = try await cluster.enqueuer.enqueue(
            EnqueueRequest(OperationCode(rawValue: "lock"), to: .group("modern"))
        )
        try await tell(cluster, old, .properties, #"{"os":{"version":"17.3"}}"#)
        let toNew = try await cluster.exchange.exchange(device: new)
        let toOld = try await cluster.exchange.exchange(device: old)
        XCTAssertEqual(toNew.operations.map(\.code.rawValue), ["lock"])
        XCTAssertEqual(toOld.operations.count, 0, "it joined after the operation")
    }

    func test_liveness_onlyTheDevicesOwnContact_makesItActive() async throws {
        let cluster = InMemoryCluster()
        let device = try await cluster.enrol("kiosk-7")
        let silent = try await cluster.enrol("never-came")
        _ = try await cluster.exchange.exchange(device: device)
        let task = LivenessTask(
            storage: cluster.devices,
            capability: cluster.capability,
            clock: cluster.time
        )
        let directory = DeviceDirectory(reader: cluster.devices)
        func record() async throws -> [Int] {
            try await task.tick(at: cluster.time.now())
            let counts = try await directory.livenessCounts()
            return [counts.active, counts.unreachable, counts.inactive]
        }
        cluster.time.advance(by: .seconds(300))
        var counts = try await record()
        XCTAssertEqual(counts, [2, 0, 0])
        cluster.time.advance(by: .seconds(1))
        counts = try await record()
        XCTAssertEqual(counts, [0, 2, 0])
        // None of this is a sign of life.
        try await cluster.administration.setPollingFrequency(.seconds(30), of: device.device)
        try await cluster.administration.join("fleet", [device.device])
        _ = try await cluster.enqueuer.enqueue(
            EnqueueRequest(OperationCode(rawValue: "lock"), to: .devices([device.device]))
        )
        counts = try await record()
        XCTAssertEqual(counts, [0, 2, 0])
        cluster.time.advance(by: .seconds(3_600))
        counts = try await record()
        XCTAssertEqual(counts, [0, 0, 2])
        _ = try await cluster.exchange.exchange(device: device)
        counts = try await record()
        XCTAssertEqual(counts, [1, 0, 1])
        let history = try await directory.history(of: device.device)
        XCTAssertEqual(
            history.map(\.what),
            [
                .becameActive, .becameInactive, .pollingChanged, .becameUnreachable, .enrolled,
            ]
        )
        let page = try await directory.devices(matching: .liveness(.inactive))
        XCTAssertEqual(page.devices.map(\.id), [silent.device])
    }

    func test_history_namesWhoAsked_throughDeskAndAdministration() async throws {
        let cluster = InMemoryCluster()
        let desk = EnrolmentDesk(
            administration: cluster.administration,
            policy: SharedSecretPolicy(secret: "s"),
            initiator: "desk"
        )
        let receipt = try await desk.enrol(EnrolmentRequest(device: "d", token: "s"))
        try await cluster.administration.setPollingFrequency(nil, of: "d", by: "alice")
        try await desk.unenrol(receipt.identity)
        try await cluster.administration.remove("d", erase: .information, by: "bob")
        let history = try await DeviceDirectory(reader: cluster.devices).history(of: "d")
        XCTAssertEqual(history.map(\.who), ["bob", "desk", "alice", "desk"])
        XCTAssertEqual(history.map(\.what), [.erased, .removed, .pollingChanged, .enrolled])
        await assertThrows(.unknownDevice) {
            try await cluster.administration.remove("d", erase: .information)
        }
        await assertThrows(.tooLarge) {
            try await cluster.administration.enrol("d", by: String(repeating: "x", count: 256))
        }
    }
}
