import ClusterMembership
import ClusterRole
import ClusterTestKit
import XCTest

final class TaskPlacementTests: XCTestCase {
    private let task = ClusterTask("asking", slots: 1_024, every: .seconds(10))

    private func member(
        _ name: String,
        role: NodeRole = .manager,
        tasks: [String] = ["asking"],
        properties: [String: String] = [:]
    ) -> Member {
        Member(
            node: NodeID(rawValue: name),
            role: role,
            domain: .standard(for: role),
            properties: properties.merging(
                ClusterTask.announcement(
                    of: tasks.map { ClusterTask(ClusterTaskName(rawValue: $0), every: .seconds(1)) }
                )
            ) { $1 },
            joinedAt: Timestamp(milliseconds: 1),
            lastHeard: Timestamp(milliseconds: 1)
        )
    }

    private func owners(_ members: [Member]) -> [NodeID?] {
        let candidates = TaskPlacementRules.candidates(for: task, among: members)
        return (0..<task.slots).map {
            TaskPlacementRules.owner(
                of: TaskSlotID(task: task.name, number: $0),
                among: candidates
            )
        }
    }

    func test_aNodeThatLeaves_givesUpItsOwnSlotsAndMovesNoOther() {
        let members = (1...8).map { member("node-\($0)") }
        let before = owners(members)
        for gone in members {
            let after = owners(members.filter { $0.node != gone.node })
            for (old, new) in zip(before, after) where old != gone.node {
                XCTAssertEqual(old, new, "without \(gone.node)")
            }
            XCTAssertFalse(after.contains(gone.node))
        }
    }

    func test_aNodeThatJoins_takesItsShareAndMovesNothingBetweenOthers() {
        let members = (1...7).map { member("node-\($0)") }
        let before = owners(members)
        let after = owners(members + [member("node-8")])
        var moved = 0
        for (old, new) in zip(before, after) where old != new {
            XCTAssertEqual(new, "node-8")
            moved += 1
        }
        // An eighth of 1,024 is 128; five standard deviations are 53.
        XCTAssertTrue((75...181).contains(moved), "\(moved) slots moved")
    }

    func test_slots_areSharedOutEvenly() {
        var counts: [NodeID: Int] = [:]
        for owner in owners((1...8).map { member("node-\($0)") }) {
            counts[owner ?? "nobody", default: 0] += 1
        }
        XCTAssertEqual(counts.count, 8)
        for (node, count) in counts {
            XCTAssertTrue((75...181).contains(count), "\(node) has \(count)")
        }
    }

    func test_placement_isTheSameWhateverTheOrderOfMembers() {
        let members = (1...8).map { member("node-\($0)") }
        XCTAssertEqual(owners(members), owners(members.reversed()))
    }

    func test_ruledOutMembers_areNotGivenTheTask() {
        var one = task
        one.placement.domain = try? ClusterDomain("reeve", subDomain: "mgt")
        one.placement.properties = ["zone": "north"]
        one.placement.nodes = ["good", "failed", "left", "elsewhere", "draining", "worker", "old"]
        let north = ["zone": "north"]
        var failed = member("failed", properties: north)
        failed.state = .failed
        var left = member("left", properties: north)
        left.state = .left
        var suspect = member("good", properties: north)
        suspect.state = .suspect
        var draining = member("draining", properties: north)
        draining.askedMode = .draining
        let members = [
            failed, left, suspect, draining,
            member("elsewhere", properties: ["zone": "south"]),
            member("worker", role: .worker, properties: north),
            member("unlisted", properties: north),
            member("old", tasks: ["other", "asking-2"], properties: north),
        ]
        let found = TaskPlacementRules.candidates(for: one, among: members)
        XCTAssertEqual(found.map(\.node), ["good"], "one that is only suspect keeps what it has")
    }

    func test_preferredMembers_areUsedAloneWhileThereAreSome() {
        var one = task
        one.placement.preferred = ["disk": "fast"]
        let plain = [member("a"), member("b")]
        let fast = member("c", properties: ["disk": "fast"])
        XCTAssertEqual(
            TaskPlacementRules.candidates(for: one, among: plain + [fast]).map(\.node),
            ["c"]
        )
        XCTAssertEqual(
            TaskPlacementRules.candidates(for: one, among: plain).map(\.node),
            ["a", "b"]
        )
    }

    // MARK: Due times

    private func at(_ seconds: Int64) -> Timestamp { Timestamp(milliseconds: seconds * 1_000) }

    func test_missedRuns_areSkippedOrMadeUp_andNeverForgotten() throws {
        var task = ClusterTask("t", every: .seconds(10))
        let before = TaskProgress(next: at(20), frequency: .seconds(10), last: at(10))
        let skipping = try XCTUnwrap(TaskSchedule.begin(before, of: task, at: at(47)))
        XCTAssertEqual(skipping.running, .init(due: at(40), attempt: 1, skipped: 2))
        XCTAssertEqual(skipping.next, at(50))

        task.missed = .catchUp(atMost: 100)
        var progress = before
        var dues: [Timestamp] = []
        while let begun = TaskSchedule.begin(progress, of: task, at: at(47)) {
            dues.append(try XCTUnwrap(begun.running).due)
            progress = TaskSchedule.end(begun)
        }
        XCTAssertEqual(dues, [at(20), at(30), at(40)])
        XCTAssertEqual(progress.last, at(40))

        task.missed = .catchUp(atMost: 2)
        let bounded = try XCTUnwrap(TaskSchedule.begin(before, of: task, at: at(47)))
        XCTAssertEqual(bounded.running, .init(due: at(30), attempt: 1, skipped: 1))
    }

    func test_aLateRun_isNotMissed() throws {
        let task = ClusterTask("t", every: .seconds(10))
        let before = TaskProgress(next: at(20), frequency: .seconds(10))
        let begun = try XCTUnwrap(TaskSchedule.begin(before, of: task, at: at(29)))
        XCTAssertEqual(begun.running, .init(due: at(20)))
        XCTAssertNil(TaskSchedule.begin(before, of: task, at: at(19)))
    }

    func test_anInterruptedRun_isBegunAgainBeforeAnythingElse() throws {
        let task = ClusterTask("t", every: .seconds(10))
        let before = TaskProgress(
            next: at(30),
            frequency: .seconds(10),
            running: .init(due: at(20), attempt: 1)
        )
        let begun = try XCTUnwrap(TaskSchedule.begin(before, of: task, at: at(55)))
        XCTAssertEqual(begun.running, .init(due: at(20), attempt: 2))
        XCTAssertEqual(begun.next, at(30))
    }

    func test_aChangedFrequency_movesTheNextDueTimeAndRepeatsNone() throws {
        let task = ClusterTask("t", every: .seconds(4))
        let stored = TaskProgress(next: at(60), frequency: .seconds(30), last: at(30))
        let changed = try XCTUnwrap(TaskSchedule.progress(of: task, from: stored, at: at(21)))
        XCTAssertEqual(changed.next, at(32), "30 has been run, also if the clock is behind")
        XCTAssertNil(TaskSchedule.progress(of: task, from: changed, at: at(99)))
    }

    func test_shares_areDisjointAndCoverAll() {
        for slots in [1, 3, 7, 64, 100] {
            let runs = (0..<slots).map {
                TaskRun(
                    slot: TaskSlotID(task: "t", number: $0),
                    slots: slots,
                    due: at(1),
                    epoch: .none
                )
            }
            XCTAssertEqual(runs.flatMap { Array($0.share(of: 64)) }, Array(0..<64))
        }
    }

    func test_tasksThatCannotBeKept_areRefused() {
        let bad = [
            ClusterTask("t", slots: 0, every: .seconds(1)),
            ClusterTask("t", slots: ClusterTask.maximumSlots + 1, every: .seconds(1)),
            ClusterTask("t", every: .milliseconds(999)),
            ClusterTask("a b", every: .seconds(1)),
            ClusterTask("t", every: .seconds(1), missed: .catchUp(atMost: 0)),
        ]
        for task in bad {
            XCTAssertThrowsError(try task.validate(), "\(task)") {
                XCTAssertEqual(($0 as? ClusterMembershipError)?.code, .invalidTask)
            }
        }
    }
}
