import ClusterRole
import Synchronization
import XCTest

@testable import ArtifactStore

final class LazyDeployerTests: XCTestCase {
    private let web: ChannelName = "web"

    private func lazy(
        _ shelf: Shelf,
        _ base: any Deployer,
        _ change: (inout LazyLoadLimits) -> Void = { _ in }
    ) -> LazyDeployer {
        var limits = LazyLoadLimits()
        change(&limits)
        return LazyDeployer(base, limits: limits, time: shelf.time)
    }

    func test_release_isLoadedAtItsFirstRequest_andUnloadedWhenItIdles() async throws {
        let shelf = try Shelf()
        let journal = Journal()
        let lazy = lazy(shelf, JournalDeployer(journal: journal))
        let sync = shelf.sync(web, deployer: lazy)
        try await shelf.publish(["f": "1"], to: web)
        try await sync.syncOnce()
        XCTAssertEqual(journal.entries, [])
        let load = ["prepare web 1", "check web 1", "activate web 1"]
        for _ in 0..<3 {
            let text = try await sync.withActiveRelease { release in
                try await lazy.withLoaded(release) {
                    try String(contentsOfFile: release.path(of: "f"), encoding: .utf8)
                }
            }
            XCTAssertEqual(text, "1")
        }
        XCTAssertEqual(journal.entries, load)
        shelf.time.advance(by: .seconds(599))
        await lazy.unloadIdle()
        XCTAssertEqual(journal.entries, load)
        shelf.time.advance(by: .seconds(1))
        await lazy.unloadIdle()
        XCTAssertEqual(journal.entries, load + ["drain web 1"])
        try await sync.withActiveRelease { try await lazy.withLoaded($0) {} }
        XCTAssertEqual(journal.entries, load + ["drain web 1"] + load)
    }

    func test_service_unloadsByTheInjectedClock() async throws {
        let shelf = try Shelf()
        let lazy = lazy(shelf, DirectoryDeployer())
        let sync = shelf.sync(web, deployer: lazy)
        try await shelf.publish(["f": "1"], to: web)
        try await sync.syncOnce()
        let release = try XCTUnwrap(sync.active)
        try await lazy.withLoaded(release) {}
        XCTAssertTrue(lazy.isLoaded(release))
        try await running(lazy.run) {
            try await eventually("it is unloaded") {
                shelf.time.advance(by: .seconds(60))
                return !lazy.isLoaded(release)
            }
        }
    }

    func test_manyFirstRequests_loadOnce_andWaitForIt() async throws {
        let shelf = try Shelf()
        let journal = Journal()
        let base = JournalDeployer(journal: journal)
        base.hang("prepare web 1")
        let lazy = lazy(shelf, base) { $0.waitingRequests = 20 }
        let sync = shelf.sync(web, deployer: lazy)
        try await shelf.publish(["f": "1"], to: web)
        try await sync.syncOnce()
        let release = try XCTUnwrap(sync.active)
        let results = Answers()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    do {
                        try await lazy.withLoaded(release) {}
                        results.serve()
                    } catch let error as ArtifactStoreError where error.code == .unavailable {
                        results.refuse()
                    }
                }
            }
            try await eventually("those beyond the limit are refused") {
                results.counts.refused == 29
            }
            base.letGo()
            try await group.waitForAll()
        }
        XCTAssertEqual(results.counts.served, 21)
        XCTAssertEqual(journal.entries.count, 3, "loaded once: \(journal.entries)")
    }

    func test_request_waitsNoLongerThanItsTime() async throws {
        let shelf = try Shelf()
        let base = JournalDeployer(journal: Journal())
        base.hang("prepare web 1")
        let lazy = lazy(shelf, base)
        let sync = shelf.sync(web, deployer: lazy)
        try await shelf.publish(["f": "1"], to: web)
        try await sync.syncOnce()
        let release = try XCTUnwrap(sync.active)
        let loader = Task { try await lazy.withLoaded(release) {} }
        let waiter = Task { try await lazy.withLoaded(release) {} }
        try await eventually("one loads, one waits") { shelf.time.sleeperCount == 1 }
        shelf.time.advance(by: .seconds(30))
        // Whichever of the two came second gives up; the other is the one that loads.
        base.letGo()
        var refused = 0
        for task in [loader, waiter] {
            do { try await task.value } catch let error as ArtifactStoreError {
                XCTAssertEqual(error.code, .unavailable)
                refused += 1
            }
        }
        XCTAssertEqual(refused, 1)
    }

    func test_failedLoad_isToldToAllWhoWait_andTriedAgainByTheNext() async throws {
        let shelf = try Shelf()
        let journal = Journal()
        let base = JournalDeployer(journal: journal)
        base.poison("check web 1")
        let lazy = lazy(shelf, base)
        let sync = shelf.sync(web, deployer: lazy)
        try await shelf.publish(["f": "1"], to: web)
        try await sync.syncOnce()
        let release = try XCTUnwrap(sync.active)
        for _ in 0..<2 {
            do {
                try await lazy.withLoaded(release) {}
                XCTFail("it is poisoned")
            } catch is JournalDeployer.Poisoned {}
        }
        XCTAssertEqual(journal.entries.filter { $0 == "prepare web 1" }.count, 2)
        XCTAssertFalse(lazy.isLoaded(release))
    }

    func test_update_ofALoadedRelease_isPreparedBeforeTheSwitch_ofAnIdleOneNot() async throws {
        let shelf = try Shelf()
        let journal = Journal()
        let lazy = lazy(shelf, JournalDeployer(journal: journal))
        let sync = shelf.sync(web, deployer: lazy)
        try await shelf.publish(["f": "1"], to: web)
        try await sync.syncOnce()
        try await shelf.publish(["f": "2"], to: web)
        try await sync.syncOnce()
        XCTAssertEqual(journal.entries, [], "nobody asked yet")
        try await sync.withActiveRelease { try await lazy.withLoaded($0) {} }
        journal.clear()
        try await shelf.publish(["f": "3"], to: web)
        try await sync.syncOnce()
        XCTAssertEqual(
            Array(journal.entries.prefix(4)),
            ["prepare web 3", "check web 3", "activate web 3", "drain web 2"]
        )
    }

    /// 200 random histories: never two loads at once, never unloaded while in use.
    func test_core_underRandomEvents_keepsItsRules() throws {
        let release = try Self.anyRelease()
        for seed in UInt64(0)..<200 {
            var random = SeededGenerator(seed)
            var limits = LazyLoadLimits()
            limits.waitingRequests = 3
            var core = LazyLoadCore(limits: limits)
            var (now, users, waiting) = (Duration.zero, 0, 0)
            var (isLoading, isUnloading) = (false, false)
            for _ in 0..<200 {
                now += .seconds(Int.random(in: 0...300, using: &random))
                switch Int.random(in: 0..<6, using: &random) {
                case 0, 1:
                    switch core.onRequest(release, at: now) {
                    case .serve: users += 1
                    case .load:
                        XCTAssertFalse(isLoading || isUnloading || users > 0, "seed \(seed)")
                        isLoading = true
                    case .wait: waiting += 1
                    case .refuse: XCTAssertEqual(waiting, 3, "seed \(seed)")
                    }
                case 2 where users > 0:
                    core.onRequestEnded(release, at: now)
                    users -= 1
                case 3 where isLoading:
                    isLoading = false
                    if Bool.random(using: &random) {
                        core.onLoaded(release, at: now)
                    } else {
                        core.onLoadFailed(release)
                    }
                    for _ in 0..<waiting { core.onWaitEnded(release) }
                    waiting = 0
                case 4:
                    let idle = core.onTick(at: now)
                    if !idle.isEmpty {
                        XCTAssertTrue(users == 0 && !isLoading && !isUnloading, "seed \(seed)")
                        isUnloading = true
                    }
                case 5 where isUnloading:
                    core.onUnloaded(release)
                    isUnloading = false
                    for _ in 0..<waiting { core.onWaitEnded(release) }
                    waiting = 0
                default: break
                }
            }
        }
    }

    private static func anyRelease() throws -> ActiveRelease {
        let tree = try TreeManifest(entries: [], limits: TreeLimits(), links: .insideTree)
        let release = Release(
            tenant: .standard,
            channel: "web",
            kind: .files,
            number: .first,
            tree: tree,
            previousRoot: nil,
            created: Timestamp(milliseconds: 0),
            expires: nil,
            key: SigningKeyID(rawValue: String(repeating: "0", count: 32)),
            links: .insideTree
        )
        return ActiveRelease(release: release, directory: "/nowhere")
    }
}

/// How many requests were answered, and how many sent away.
private final class Answers: Sendable {
    private let state = Mutex((served: 0, refused: 0))
    var counts: (served: Int, refused: Int) { state.withLock { $0 } }
    func serve() { state.withLock { $0.served += 1 } }
    func refuse() { state.withLock { $0.refused += 1 } }
}

/// SplitMix64.
private struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
