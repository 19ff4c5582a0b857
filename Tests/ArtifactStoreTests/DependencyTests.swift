import ClusterRole
import XCTest

@testable import ArtifactStore

final class DependencyCoreTests: XCTestCase {
    private func core(_ channels: ChannelName...) -> DependencyCore {
        var core = DependencyCore()
        for channel in channels { _ = core.onConfigured(channel) }
        return core
    }

    private func standing(_ number: Int64, _ needs: ReleaseDependency...) -> DependencyCore.Standing
    {
        DependencyCore.Standing(number: ReleaseNumber(number), needs: needs)
    }

    private func need(_ channel: ChannelName, _ lowest: Int64 = 1) -> ReleaseDependency {
        ReleaseDependency(channel, atLeast: ReleaseNumber(lowest))
    }

    func test_offer_waitsForWhatItNeeds_andIsWokenWhenThatIsThere() {
        var core = core("web", "db")
        XCTAssertEqual(
            core.onOffered("web", standing(1, need("db", 2))).hold,
            .awaited(need("db", 2))
        )
        XCTAssertNil(core.onOffered("db", standing(1)).hold)
        XCTAssertEqual(core.onActive("db", standing(1)), [.lookAgain("web")])
        XCTAssertEqual(
            core.onOffered("web", standing(1, need("db", 2))).hold,
            .awaited(need("db", 2))
        )
        XCTAssertEqual(core.onActive("db", standing(2)), [.lookAgain("web")])
        XCTAssertNil(core.onOffered("web", standing(1, need("db", 2))).hold)
    }

    func test_offer_thatNeedsAChannelTheNodeDoesNotKeep_isHeldUntilItDoes() {
        var core = core("web")
        XCTAssertEqual(core.onOffered("web", standing(1, need("db"))).hold, .notKept(need("db")))
        XCTAssertEqual(core.onConfigured("db"), [.lookAgain("web")])
        XCTAssertEqual(core.onOffered("web", standing(1, need("db"))).hold, .awaited(need("db")))
    }

    func test_offer_whoseDependencyIsRefused_isHeldWithThatReason_alsoAlongAChain() {
        var core = core("page", "web", "db")
        XCTAssertEqual(core.onOffered("web", standing(1, need("db"))).hold, .awaited(need("db")))
        XCTAssertEqual(core.onOffered("page", standing(1, need("web"))).hold, .awaited(need("web")))
        XCTAssertEqual(core.onRefused("db", standing(1)), [.lookAgain("web")])
        let web = core.onOffered("web", standing(1, need("db")))
        XCTAssertEqual(web.hold, .refused(need("db")))
        XCTAssertEqual(web.directives, [.lookAgain("page")])
        XCTAssertEqual(core.onOffered("page", standing(1, need("web"))).hold, .refused(need("web")))
        XCTAssertEqual(core.onActive("db", standing(2)), [.lookAgain("web")])
    }

    func test_offer_thatClosesACircle_isRefused_andTheOthersGoOn() {
        var core = core("a", "b", "c")
        XCTAssertEqual(core.onOffered("a", standing(1, need("b"))).hold, .awaited(need("b")))
        XCTAssertEqual(core.onOffered("b", standing(1, need("c"))).hold, .awaited(need("c")))
        XCTAssertEqual(core.onOffered("c", standing(1, need("a"))).hold, .circle(["c", "a", "b"]))
        XCTAssertEqual(core.onOffered("c", standing(1, need("a"))).directives, [])
        XCTAssertNil(core.onOffered("c", standing(2)).hold)
        XCTAssertEqual(core.onActive("c", standing(2)), [.lookAgain("b")])
        XCTAssertNil(core.onOffered("b", standing(1, need("c"))).hold)
    }

    func test_order_isTopological_andItsReverseRemovesThoseWhoNeedFirst() {
        let needs: [ChannelName: [ReleaseDependency]] = [
            "db": [], "web": [need("db"), need("gone")], "page": [need("web")], "log": [],
        ]
        let graph = DependencyGraph(needs)
        XCTAssertEqual(graph.startGroups(), [["db", "gone", "log"], ["web"], ["page"]])
        XCTAssertEqual(try graph.removalOrder(), ["page", "web", "log", "gone", "db"])
    }

    func test_startGroups_ofACircle_comeLastAndTogether() {
        let needs: [ChannelName: [ReleaseDependency]] = [
            "db": [], "web": [need("db"), need("page")], "page": [need("web")],
        ]
        XCTAssertEqual(DependencyGraph(needs).startGroups(), [["db"], ["page", "web"]])
    }

    /// 400 random graphs: every channel comes after all it needs, unless it is in a circle.
    func test_order_ofRandomGraphs_neverPutsAChannelBeforeWhatItNeeds() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<400 {
            let count = Int.random(in: 1...12, using: &generator)
            let names = (0..<count).map { ChannelName(rawValue: "c\($0)") }
            var needs: [ChannelName: [ReleaseDependency]] = [:]
            for (index, name) in names.enumerated() {
                needs[name] = names[..<index].filter { _ in Bool.random(using: &generator) }
                    .map { ReleaseDependency($0) }
            }
            var done: Set<ChannelName> = []
            for group in DependencyGraph(needs).startGroups() {
                for name in group {
                    XCTAssertTrue(done.isSuperset(of: (needs[name] ?? []).map(\.channel)))
                }
                done.formUnion(group)
            }
            XCTAssertEqual(done, Set(names))
        }
    }
}

final class ArtifactSetTests: XCTestCase {
    private let db: ChannelName = "db"
    private let web: ChannelName = "web"
    private let page: ChannelName = "page"

    private func activations(_ journal: Journal) -> [String] {
        journal.entries.filter { $0.hasPrefix("activate") }
    }

    func test_channels_ofOneNode_areActivatedInTheOrderTheyNeedEachOther() async throws {
        let shelf = try Shelf()
        let journal = Journal()
        try await shelf.publish(["p": "1"], to: page, needs: [ReleaseDependency(web)])
        try await shelf.publish(["w": "1"], to: web, needs: [ReleaseDependency(db)])
        try await shelf.publish(["d": "1"], to: db)
        let artifacts = shelf.artifacts(
            [page, web, db],
            deployers: [JournalDeployer(journal: journal)]
        )
        try await running(artifacts.run) {
            try await eventually("all three") {
                artifacts.statuses.allSatisfy { $0.active == .first }
            }
        }
        XCTAssertEqual(
            activations(journal),
            ["activate db 1", "activate web 1", "activate page 1"]
        )
        XCTAssertEqual(shelf.words(about: page).map(\.state), [.applied], "waiting is no refusal")
    }

    func test_deployers_areChosenByKind_andAnUnknownKindIsRefused() async throws {
        let shelf = try Shelf()
        let journals = [Journal(), Journal()]
        try await shelf.publish(["a": "1"], to: web, kind: .webApplication)
        try await shelf.publish(["b": "1"], to: db, kind: .service)
        try await shelf.publish(["c": "1"], to: page, kind: .configuration)
        let artifacts = shelf.artifacts(
            [web, db, page],
            deployers: [
                JournalDeployer(kind: .webApplication, journal: journals[0]),
                JournalDeployer(kind: .service, journal: journals[1]),
            ]
        )
        try await running(artifacts.run) {
            try await eventually("two active, one refused") {
                artifacts.statuses.map(\.lastOutcome) == [.activated, .refused, .activated]
            }
        }
        XCTAssertEqual(activations(journals[0]), ["activate web 1"])
        XCTAssertEqual(activations(journals[1]), ["activate db 1"])
        XCTAssertEqual(artifacts.sync(of: page)?.status.lastError?.code, .wrongChannel)
    }

    func test_aPoisonedRelease_isIsolated_whatNeedsItIsHeld_andTheRestGoOn() async throws {
        let shelf = try Shelf()
        let journal = Journal()
        let deployer = JournalDeployer(journal: journal)
        deployer.poison("prepare db 2")
        for channel in [db, web, page] { try await shelf.publish(["f": "1"], to: channel) }
        let artifacts = shelf.artifacts([db, web, page], deployers: [deployer])
        try await running(artifacts.run) {
            try await eventually("release 1 everywhere") {
                artifacts.statuses.allSatisfy { $0.active == .first }
            }
            try await shelf.publish(["f": "2"], to: db)
            let needs = [ReleaseDependency(db, atLeast: ReleaseNumber(2))]
            try await shelf.publish(["f": "2"], to: web, needs: needs)
            try await shelf.publish(["f": "2"], to: page)
            artifacts.hint()
            try await eventually("page is new, web held, db refused") {
                artifacts.sync(of: page)?.status.active == ReleaseNumber(2)
                    && artifacts.sync(of: web)?.status.hold == .refused(needs[0])
                    && artifacts.sync(of: db)?.status.lastOutcome == .refused
            }
            XCTAssertEqual(shelf.words(about: web).last?.errorCode, "artifacts.dependency-refused")
            XCTAssertEqual(artifacts.sync(of: web)?.status.active, .first)
            // The mended dependency lets it go on, unasked.
            try await shelf.publish(["f": "3"], to: db)
            artifacts.sync(of: db)?.hint()
            try await eventually("web follows") {
                artifacts.sync(of: web)?.status.active == ReleaseNumber(2)
            }
        }
        XCTAssertEqual(shelf.words(about: web).last?.state, .applied)
    }

    func test_aNodeOpenedAgain_bringsItsChannelsBackInOrder_withoutTheSource() async throws {
        let shelf = try Shelf()
        try await shelf.publish(["p": "1"], to: "a-page", needs: [ReleaseDependency("z-db")])
        try await shelf.publish(["d": "1"], to: "z-db")
        do {
            let artifacts = shelf.artifacts(["a-page", "z-db"])
            try await running(artifacts.run) {
                try await eventually("both") {
                    artifacts.statuses.allSatisfy { $0.active == .first }
                }
            }
        }
        shelf.isDown = true
        let journal = Journal()
        let again = shelf.artifacts(
            ["a-page", "z-db"],
            deployers: [JournalDeployer(journal: journal)]
        )
        try await again.start()
        XCTAssertEqual(
            journal.entries,
            ["prepare z-db 1", "activate z-db 1", "prepare a-page 1", "activate a-page 1"]
        )
    }

    func test_lastGood_ofAPoisonedChannel_isServedAgainAfterARestart() async throws {
        let shelf = try Shelf()
        let poisoned = JournalDeployer(journal: Journal())
        poisoned.poison("prepare web 2")
        try await shelf.publish(["w": "1"], to: web)
        do {
            let artifacts = shelf.artifacts([web], deployers: [poisoned])
            try await running(artifacts.run) {
                try await eventually("release 1") { artifacts.statuses[0].active == .first }
                try await shelf.publish(["w": "2"], to: web)
                artifacts.hint()
                try await eventually("refused") {
                    artifacts.statuses[0].lastOutcome == .refused
                }
            }
        }
        shelf.isDown = true
        let again = shelf.artifacts([web])
        try await again.start()
        let text = try await again.withActiveRelease(of: web) {
            try String(contentsOfFile: $0.path(of: "w"), encoding: .utf8)
        }
        XCTAssertEqual(text, "1")
    }

    func test_channelsThatAreNotKeptAnyMore_areUndeployedInReverseOrder() async throws {
        let shelf = try Shelf()
        let journal = Journal()
        try await shelf.publish(["p": "1"], to: "a-page", needs: [ReleaseDependency("z-db")])
        try await shelf.publish(["d": "1"], to: "z-db")
        try await shelf.publish(["w": "1"], to: web)
        let artifacts = shelf.artifacts(
            ["a-page", "z-db", web],
            deployers: [JournalDeployer(journal: journal)]
        )
        try await running(artifacts.run) {
            try await eventually("all") { artifacts.statuses.allSatisfy { $0.active == .first } }
            journal.clear()
            try await artifacts.keep([web])
            XCTAssertEqual(
                journal.entries,
                ["drain a-page 1", "remove a-page 1", "drain z-db 1", "remove z-db 1"]
            )
            XCTAssertEqual(artifacts.channels, [web])
            let trees = shelf.directory.path("channels/a-page/releases")
            XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: trees), [])
            // It can come back, and begins at what the source has.
            try await artifacts.keep([web, "z-db"])
            try await eventually("z-db again") {
                artifacts.sync(of: "z-db")?.status.active == .first
            }
        }
    }

    func test_channelsRemovedFromTheConfiguration_areUndeployedAtTheNextStart_butNotAllOfThem()
        async throws
    {
        let shelf = try Shelf()
        for channel in [web, db] { try await shelf.publish(["f": "1"], to: channel) }
        do {
            let artifacts = shelf.artifacts([web, db])
            try await running(artifacts.run) {
                try await eventually("both") {
                    artifacts.statuses.allSatisfy { $0.active == .first }
                }
            }
        }
        do {
            // A configuration that was emptied by mistake deletes nothing.
            try await shelf.artifacts([]).start()
            let current = shelf.directory.path("channels/web/current/f")
            XCTAssertTrue(FileManager.default.fileExists(atPath: current))
        }
        let journal = Journal()
        let again = shelf.artifacts([web], deployers: [JournalDeployer(journal: journal)])
        try await again.start()
        XCTAssertEqual(journal.entries, ["prepare web 1", "activate web 1", "remove db 1"])
        XCTAssertFalse(
            FileManager.default.fileExists(atPath: shelf.directory.path("channels/db/current"))
        )
    }

    func test_anUndeployedChannel_thatComesBack_neverGoesBelowItsFloor() async throws {
        let shelf = try Shelf()
        try await shelf.publish(["f": "1"], to: web)
        let old = try await shelf.latestRelease(of: web, tenant: .standard, unlessAt: nil)
        try await shelf.publish(["f": "2"], to: web)
        do {
            let sync = shelf.sync(web)
            try await sync.syncOnce()
            try await sync.undeploy()
            XCTAssertNil(sync.active)
        }
        let attacked = shelf.sync(web, source: FixedSource(answer: old, base: shelf))
        let report = try await attacked.syncOnce()
        guard case .refused(let error) = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(error.code, .belowFloor)
        XCTAssertNil(attacked.active)
    }
}

/// Answers always the same, whatever is newest.
struct FixedSource: ReleaseSource {
    let answer: ReleaseAnswer
    let base: any ReleaseSource

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer { answer }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        try await base.bundle(bundle, from: offset)
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        try await base.acknowledge(applied, tenant: tenant)
    }
}
