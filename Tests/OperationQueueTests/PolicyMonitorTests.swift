import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

final class PolicyMonitorTests: XCTestCase {
    private let fleet = GroupID(rawValue: "fleet")

    private func policy(version: String = "1") -> CompliancePolicy {
        CompliancePolicy(
            id: "passcode",
            group: fleet,
            version: version,
            payload: Array("{\"length\":6}".utf8),
            monitoring: .seconds(3_600),
            backoff: .seconds(60),
            longestBackoff: .seconds(600),
            maximumTries: 3
        )
    }

    private func report(
        _ isCompliant: Bool,
        version: String = "1",
        by device: DeviceIdentity,
        _ cluster: InMemoryCluster
    ) async throws {
        let document = """
            {"policy":"passcode","version":"\(version)","compliant":\(isCompliant),"violations":[]}
            """
        try await InProcessInbox(
            storage: cluster.operations,
            capability: cluster.capability,
            clock: cluster.time
        ).accept([
            InboxEntry(
                identity: device,
                receivedAt: cluster.time.now(),
                body: .information(.compliance, body: Array(document.utf8))
            )
        ])
    }

    /// Takes what is offered, and says how often the policy was among it.
    private func take(_ device: DeviceIdentity, _ cluster: InMemoryCluster) async throws -> Int {
        var policies = 0
        while true {
            let offered = try await cluster.exchange.exchange(device: device).operations
            if offered.isEmpty { return policies }
            policies += offered.filter { $0.type == .policy }.count
            let results = offered.map {
                ExecutionResult(execution: $0.execution, attempt: $0.attempt, outcome: .completed)
            }
            _ = try await cluster.exchange.exchange(
                device: device,
                report: ExchangeReport(results: results, limit: 0)
            )
        }
    }

    func test_policy_isHandedToMembersAndToWhoJoins_once() async throws {
        let cluster = InMemoryCluster()
        let early = try await cluster.enrol("early", groups: ["fleet"])
        let standing = try await cluster.policies.put(policy())
        let again = try await cluster.policies.put(policy())
        XCTAssertEqual(again, standing)
        XCTAssertEqual(standing.counts.unknown, 1)
        let late = try await cluster.enrol("late", groups: ["fleet"])
        for device in [early, late] {
            let first = try await take(device, cluster)
            let second = try await take(device, cluster)
            XCTAssertEqual([first, second], [1, 0])
        }
        // A new version supersedes; a device that took neither gets one.
        let new = try await cluster.enrol("new", groups: ["fleet"])
        try await cluster.policies.put(policy(version: "2"))
        let taken = try await take(new, cluster)
        XCTAssertEqual(taken, 1)
    }

    func test_violation_isReappliedWithGrowingWaits_thenGivenUp() async throws {
        let cluster = InMemoryCluster()
        let device = try await cluster.enrol("d", groups: ["fleet"])
        try await cluster.policies.put(policy())
        _ = try await take(device, cluster)
        try await report(false, by: device, cluster)
        var appliedAt: [Int64] = []
        let start = cluster.time.now()
        for _ in 0..<200 {
            try await cluster.policies.tick(at: cluster.time.now())
            if try await take(device, cluster) > 0 {
                appliedAt.append((cluster.time.now() - start).milliseconds / 1_000)
                try await report(false, by: device, cluster)
            }
            cluster.time.advance(by: .seconds(10))
        }
        XCTAssertEqual(appliedAt, [0, 60, 180])
        let counts = try await cluster.policies.policy("passcode").counts
        XCTAssertEqual(counts.givenUp, 1)
        let lost = try await cluster.policies.devices(of: "passcode", in: .givenUp)
        XCTAssertEqual(lost.map(\.tries), [3])
        // It complies after all.
        try await report(true, by: device, cluster)
        let healed = try await cluster.policies.policy("passcode").counts
        XCTAssertEqual(healed.compliant, 1)
    }

    func test_violation_endedByCompliance_isNotReapplied() async throws {
        let cluster = InMemoryCluster()
        let device = try await cluster.enrol("d", groups: ["fleet"])
        try await cluster.policies.put(policy())
        _ = try await take(device, cluster)
        try await report(false, by: device, cluster)
        try await report(true, by: device, cluster)
        let receipts = try await cluster.policies.tick(at: cluster.time.now() + .seconds(3_600))
        XCTAssertEqual(receipts.count, 0)
    }

    func test_reapplication_crashBeforeItIsNoted_isOneOnTheDevice() async throws {
        let cluster = InMemoryCluster()
        let device = try await cluster.enrol("d", groups: ["fleet"])
        try await cluster.policies.put(policy())
        _ = try await take(device, cluster)
        try await report(false, by: device, cluster)
        cluster.faults.failNext(of: .advance)
        do {
            try await cluster.policies.tick(at: cluster.time.now())
            XCTFail("the call was to fail")
        } catch {
            XCTAssertEqual(error.category, .unavailable)
        }
        let again = try await cluster.policies.tick(at: cluster.time.now())
        XCTAssertEqual(again.count, 1)
        let taken = try await take(device, cluster)
        XCTAssertEqual(taken, 1)
        let standing = try await cluster.policies.devices(of: "passcode", in: .violating)
        XCTAssertEqual(standing.map(\.tries), [1])
    }

    func test_monitoring_asksDevicesWhoseReportIsOld_andNoOthers() async throws {
        let cluster = InMemoryCluster()
        let silent = try await cluster.enrol("silent", groups: ["fleet"])
        let busy = try await cluster.enrol("busy", groups: ["fleet"])
        try await cluster.policies.put(policy())
        for device in [silent, busy] { _ = try await take(device, cluster) }
        var asked: [String: Int] = [:]
        for _ in 0..<72 {
            try await cluster.advance(by: .seconds(100))
            try await report(true, by: busy, cluster)
            for device in [silent, busy] {
                let offered = try await cluster.exchange.exchange(device: device).operations
                for offer in offered where offer.code == .complianceReport {
                    XCTAssertEqual(
                        String(decoding: offer.payload, as: UTF8.self),
                        "{\"policy\":\"passcode\"}"
                    )
                    asked[device.device.rawValue, default: 0] += 1
                    let result = ExecutionResult(
                        execution: offer.execution,
                        attempt: offer.attempt,
                        outcome: .completed
                    )
                    _ = try await cluster.exchange.exchange(
                        device: device,
                        report: ExchangeReport(results: [result], limit: 0)
                    )
                }
            }
        }
        XCTAssertEqual(asked["silent"], 2)
        XCTAssertLessThanOrEqual(asked["busy"] ?? 0, 1, "at most before its first report")
    }

    func test_policy_removed_isHandedOutNoMore() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d", groups: ["fleet"])
        try await cluster.policies.put(policy())
        try await cluster.policies.remove("passcode")
        let late = try await cluster.enrol("late", groups: ["fleet"])
        let taken = try await take(late, cluster)
        XCTAssertEqual(taken, 0)
        let tasks = try await cluster.tasks.tasks(tenant: .standard)
        XCTAssertEqual(tasks, [])
        await assertThrows(.unknownPolicy) { try await cluster.policies.remove("passcode") }
    }

    func test_policy_badDefinition_isRefused() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d", groups: ["fleet"])
        var bad = [policy(), policy(), policy(), policy(), policy()]
        bad[0].version = ""
        bad[1].monitoring = .zero
        bad[2].longestBackoff = .seconds(1)
        bad[3].maximumTries = -1
        bad[4].id = PolicyID(rawValue: String(repeating: "x", count: 250))
        for policy in bad {
            await assertThrows(.invalidRequest) { try await cluster.policies.put(policy) }
        }
    }

    func test_reports_badDocuments_areRefusedWithTheirReason() {
        let long = String(repeating: "v", count: 256)
        let many = [String](repeating: "\"v\"", count: 65).joined(separator: ",")
        let good = "{\"policy\":\"p\",\"version\":\"1\",\"compliant\":true}"
        for document in [
            "", "{}", "5", "[5]", "{\"policy\":\"p\",\"version\":\"1\"}",
            "{\"policy\":\"a b\",\"version\":\"1\",\"compliant\":true}",
            "{\"policy\":\"p\",\"version\":\"\(long)\",\"compliant\":true}",
            "{\"policy\":\"p\",\"version\":\"1\",\"compliant\":true,\"violations\":[\(many)]}",
            "{\"policy\":\"p\",\"version\":\"1\",\"compliant\":true,\"violations\":[\"\(long)\"]}",
            "[" + [String](repeating: good, count: 33).joined(separator: ",") + "]",
        ] {
            XCTAssertThrowsError(try ComplianceReport.reports(in: Array(document.utf8)), document)
        }
        XCTAssertEqual(
            try ComplianceReport.reports(in: Array("[\(good),\(good)]".utf8)).count,
            2
        )
    }
}
