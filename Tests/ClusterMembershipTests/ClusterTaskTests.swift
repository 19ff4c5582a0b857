import ClusterMembership
import ClusterRole
import ClusterTestKit
import XCTest

/// Each slot of each task once for each due time, whatever nodes do.
final class ClusterTaskTests: XCTestCase {
    private let tasks = [
        ClusterTask("singleton", every: .seconds(15)),
        ClusterTask("asking", slots: 6, every: .seconds(10), missed: .catchUp(atMost: 1_000)),
        ClusterTask("sweeping", slots: 3, every: .seconds(20), missed: .catchUp(atMost: 1_000)),
    ]

    private func pause(_ random: SeededRandomSource, _ range: ClosedRange<Int64>) -> Duration {
        let span = UInt64(range.upperBound - range.lowerBound + 1)
        return .milliseconds(range.lowerBound + Int64(random.number(below: span)))
    }

    /// Every due time of every slot, from its first to `slack` before the end, was run once.
    private func check(
        _ simulation: TaskSimulation,
        isStrict: Bool,
        slack: Duration = .seconds(20),
        _ where: String
    ) {
        XCTAssertEqual(simulation.problems, [], `where`)
        for task in tasks {
            for number in 0..<task.slots {
                let slot = TaskSlotID(task: task.name, number: number)
                let dues = simulation.dues[slot] ?? []
                guard let first = dues.first else {
                    XCTFail("\(`where`): \(slot) never ran")
                    continue
                }
                let period = task.frequency.milliseconds
                let last = (simulation.wall - slack).milliseconds
                let expected = stride(from: first.milliseconds, through: last, by: Int(period)).map
                {
                    Timestamp(milliseconds: $0)
                }
                let found = dues.filter { $0.milliseconds <= last }
                if isStrict || task.missed != .skip {
                    XCTAssertEqual(found, expected, "\(`where`): \(slot)")
                }
                for due in found {
                    let key = "\(task.name)/\(number)/\(due.milliseconds)"
                    XCTAssertEqual(simulation.effects[key], 1, "\(`where`): effects of \(key)")
                    if isStrict {
                        XCTAssertEqual(simulation.starts[key], 1, "\(`where`): starts of \(key)")
                    }
                }
            }
        }
    }

    func test_throughThirtyRollingRestarts_eachSlotRunsExactlyOncePerDueTime() {
        for seed in UInt64(1)...40 {
            var simulation = TaskSimulation(seed: seed, nodes: 4, tasks: tasks)
            for index in 0..<4 { simulation.start(index) }
            simulation.run(for: .seconds(40))
            for round in 0..<30 {
                let index = round % 4
                simulation.shutDown(index)
                var waited = 0
                while simulation.nodes[index].isUp && waited < 100 {
                    simulation.run(for: .milliseconds(250))
                    waited += 1
                }
                XCTAssertFalse(simulation.nodes[index].isUp, "seed \(seed): it does not end")
                simulation.run(for: pause(simulation.random, 100...6_000))
                simulation.start(index)
                simulation.run(for: pause(simulation.random, 100...9_000))
            }
            simulation.run(for: .seconds(60))
            check(simulation, isStrict: true, "seed \(seed)")
            XCTAssertEqual(simulation.skipped, 0, "seed \(seed): no gap was so long")
        }
    }

    func test_throughCrashesAndPauses_noDueTimeIsLostAndNoEffectDoubled() {
        var interrupted = 0
        for seed in UInt64(1)...60 {
            var simulation = TaskSimulation(seed: seed, nodes: 4, tasks: tasks)
            for index in 0..<4 { simulation.start(index) }
            simulation.run(for: .seconds(40))
            for _ in 0..<30 {
                let index = Int(simulation.random.number(below: 4))
                switch simulation.random.number(below: 3) {
                case 0 where simulation.nodes[index].isUp:
                    simulation.crash(index)
                    simulation.run(for: pause(simulation.random, 100...30_000))
                    simulation.start(index)
                case 1 where simulation.nodes[index].isUp:
                    simulation.pause(index, for: pause(simulation.random, 500...40_000))
                default: break
                }
                simulation.run(for: pause(simulation.random, 100...12_000))
            }
            simulation.run(for: .seconds(120))
            check(simulation, isStrict: false, slack: .seconds(25), "seed \(seed)")
            interrupted += simulation.starts.values.filter { $0 > 1 }.count
        }
        XCTAssertGreaterThan(interrupted, 20, "the schedules interrupt runs")
    }

    func test_everybodyAway_isMadeUpBySomeTasksAndSkippedByOthers() {
        var simulation = TaskSimulation(seed: 9, nodes: 2, tasks: tasks)
        for index in 0..<2 { simulation.start(index) }
        simulation.run(for: .seconds(60))
        for index in 0..<2 { simulation.crash(index) }
        simulation.run(for: .seconds(600))
        for index in 0..<2 { simulation.start(index) }
        simulation.run(for: .seconds(180))
        check(simulation, isStrict: false, "after ten minutes")
        let asked = simulation.dues[TaskSlotID(task: "asking", number: 0)] ?? []
        XCTAssertGreaterThan(asked.count, 75, "every missed run was made up")
        let single = simulation.dues[TaskSlotID(task: "singleton", number: 0)] ?? []
        XCTAssertLessThan(single.count, 25)
        XCTAssertGreaterThan(simulation.skipped, 35, "what is skipped is counted")
        XCTAssertEqual(Set(single).count, single.count)
    }

    func test_aTaskThatWaitsForMembers_isNotBegunBefore() {
        let waiting = [ClusterTask("w", slots: 4, every: .seconds(5), waitsForMembers: 3)]
        var simulation = TaskSimulation(seed: 3, nodes: 3, tasks: waiting)
        simulation.start(0)
        simulation.start(1)
        simulation.run(for: .seconds(60))
        XCTAssertEqual(simulation.starts.count, 0)
        simulation.start(2)
        simulation.run(for: .seconds(30))
        XCTAssertEqual(simulation.dues.count, 4)
        // Once begun it goes on with those that are left.
        simulation.crash(2)
        simulation.run(for: .seconds(60))
        for slot in 0..<4 {
            let dues = simulation.dues[TaskSlotID(task: "w", number: slot)] ?? []
            XCTAssertGreaterThan(dues.last ?? .distantPast, simulation.wall - .seconds(12))
        }
    }

    func test_aBodyThatDoesNotReturn_keepsNothingButItsOwnNodeFromTheSlot() throws {
        let one = ClusterTask("t", every: .seconds(10))
        var core = ClusterTaskCore(
            node: "a",
            tasks: [one],
            timing: .standard,
            handOverLimit: .seconds(20)
        )
        func at(_ seconds: Int) -> ClusterTaskCore.Moment {
            .init(
                wall: ManualTimeSource.standardStart + .seconds(seconds),
                monotonic: .seconds(seconds)
            )
        }
        let slot = TaskSlotID(task: "t", number: 0)
        let own = Member(
            node: "a",
            role: .manager,
            domain: .standard(for: .manager),
            properties: ClusterTask.announcement(of: [one]),
            joinedAt: at(0).wall,
            lastHeard: at(0).wall
        )
        _ = core.onStart(at: at(0))
        XCTAssertTrue(core.onLooked([], [own], at: at(0)).contains(.acquire([slot])))
        var held = TaskSlot(
            id: slot,
            holder: "a",
            epoch: Epoch(rawValue: 1),
            remaining: .seconds(15),
            progress: TaskProgress(next: at(0).wall, frequency: .seconds(10))
        )
        let claim = TaskSlotClaim(slot: slot, holder: "a", epoch: Epoch(rawValue: 1))
        let begun = core.onAcquired([held], of: [slot], askedAt: .zero, at: at(0))
        XCTAssertTrue(begun.contains { if case .advance(claim, _) = $0 { true } else { false } })
        let run = TaskRun(slot: slot, slots: 1, due: at(0).wall, epoch: Epoch(rawValue: 1))
        XCTAssertTrue(core.onAdvanced(claim, at: at(0)).contains(.start(run)))
        XCTAssertFalse(core.onTick(at: at(9)).contains(.cancel(run)))
        XCTAssertTrue(
            core.onTick(at: at(10)).contains(.cancel(run)),
            "by its own clock, after 10 s"
        )
        XCTAssertEqual(core.heldSlots, [])
        // The lease has run out, and nobody has it; the body still runs here.
        held.holder = nil
        let looked = core.onLooked([held], [own], at: at(16))
        XCTAssertFalse(looked.contains(.acquire([slot])))
        _ = core.onRunEnded(run, at: at(17))
        XCTAssertTrue(core.onLooked([held], [own], at: at(18)).contains(.acquire([slot])))
    }

    func test_aWallClockThatJumps_neitherLosesTheSlotNorRunsADueTimeTwice() {
        let one = ClusterTask("t", every: .seconds(10))
        let start = ManualTimeSource.standardStart
        var progress = TaskProgress(next: start, frequency: one.frequency)
        var dues: [Timestamp] = []
        // Forward by an hour, back by a day, and on.
        for jump in [0, 3_600, 3_601, -86_400, -86_390, 3_605, 3_612, 3_621] {
            while let begun = TaskSchedule.begin(progress, of: one, at: start + .seconds(jump)) {
                dues.append(begun.running?.due ?? start)
                progress = TaskSchedule.end(begun)
            }
        }
        XCTAssertEqual(dues, dues.sorted())
        XCTAssertEqual(Set(dues).count, dues.count)
    }
}
