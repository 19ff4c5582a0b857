import ClusterRole
import XCTest

@testable import ArtifactStore

final class DeployerLifecycleTests: XCTestCase {
    private let web: ChannelName = "web"

    func test_aDeployerThatHangs_inAnyStep_isARefusalByName_andTheOtherChannelsGoOn() async throws {
        for step in ["prepare", "check", "activate"] {
            let shelf = try Shelf()
            let journal = Journal()
            let deployer = JournalDeployer(journal: journal)
            deployer.hang("\(step) web 2")
            let artifacts = shelf.artifacts([web, "other"], deployers: [deployer]) {
                $0.verifyInterval = nil
                $0.pollInterval = .seconds(100_000)
            }
            for channel in [web, "other"] { try await shelf.publish(["f": "1"], to: channel) }
            try await running(artifacts.run) {
                try await eventually("release 1") {
                    artifacts.statuses.allSatisfy { $0.active == .first }
                }
                for channel in [web, "other"] { try await shelf.publish(["f": "2"], to: channel) }
                artifacts.hint()
                try await eventually("the other channel goes on") {
                    artifacts.sync(of: "other")?.status.active == ReleaseNumber(2)
                }
                XCTAssertEqual(artifacts.sync(of: web)?.status.active, .first)
                try await eventually("the step hangs") {
                    journal.entries.contains("\(step) web 2")
                }
                try await eventually("the time runs out") {
                    shelf.time.advance(by: .seconds(30))
                    return artifacts.sync(of: web)?.status.lastOutcome == .refused
                }
                let status = try XCTUnwrap(artifacts.sync(of: web)?.status)
                XCTAssertEqual(status.lastError?.code, .deploymentTimedOut)
                let name = step == "check" ? "checkHealth" : step
                XCTAssertTrue(status.lastError?.message.contains(name) == true, step)
                XCTAssertEqual(status.active, .first)
                XCTAssertEqual(
                    shelf.words(about: web).last?.errorCode,
                    "artifacts.deployment-timed-out"
                )
                // As long as it does not come back it is not asked for anything else.
                try await shelf.publish(["f": "3"], to: web)
                artifacts.hint()
                try await eventually("release 3 is refused at once") {
                    shelf.words(about: "web").last?.number == ReleaseNumber(3)
                }
                deployer.letGo()
                try await shelf.publish(["f": "4"], to: web)
                try await eventually("release 4 is taken") {
                    artifacts.hint()
                    await Task.yield()
                    if artifacts.sync(of: "web")?.status.lastOutcome == .refused,
                        shelf.words(about: "web").last?.number == ReleaseNumber(4)
                    {
                        // The deployer came back only after release 4 was looked at.
                        try await shelf.publish(["f": UUID().uuidString], to: "web")
                    }
                    return (artifacts.sync(of: "web")?.status.active ?? .first) > ReleaseNumber(3)
                }
            }
        }
    }

    func test_aDrainThatHangs_doesNotKeepTheNewReleaseFromBeingAcknowledged() async throws {
        let shelf = try Shelf()
        let deployer = JournalDeployer(journal: Journal())
        deployer.hang("drain web 1")
        let sync = shelf.sync(web, deployer: deployer) {
            $0.verifyInterval = nil
            $0.pollInterval = .seconds(100_000)
        }
        try await shelf.publish(["f": "1"], to: web)
        try await running(sync.run) {
            try await eventually("release 1") { sync.status.active == .first }
            try await shelf.publish(["f": "2"], to: web)
            sync.hint()
            try await eventually("release 2 is active") {
                sync.active?.release.number == ReleaseNumber(2)
            }
            try await eventually("release 2 is acknowledged") {
                shelf.time.advance(by: .seconds(30))
                return shelf.words(about: "web").last?.number == ReleaseNumber(2)
            }
            XCTAssertEqual(shelf.words(about: "web").last?.state, .applied)
            deployer.letGo()
        }
    }

    func test_aStepThatIsCancelledInTime_endsWithoutARunningService() async throws {
        let shelf = try Shelf()
        let sync = shelf.sync(web, deployer: PatientDeployer(time: shelf.time))
        try await shelf.publish(["f": "1"], to: web)
        async let report = sync.syncOnce()
        try await eventually("the deployer and its limit sleep") { shelf.time.sleeperCount >= 2 }
        shelf.time.advance(by: .seconds(301))
        guard case .refused(let error) = try await report.outcome else {
            return XCTFail("it was not refused")
        }
        XCTAssertEqual(error.code, .deploymentTimedOut)
    }

    func test_manualMode_showsWhatIsThere_andAppliesItWhenAsked() async throws {
        let shelf = try Shelf()
        let journal = Journal()
        let sync = shelf.sync(web, deployer: JournalDeployer(journal: journal)) {
            $0.mode = .manual
        }
        try await shelf.publish(["f": "1"], to: web)
        let seen = try await sync.syncOnce()
        guard case .available = seen.outcome else { return XCTFail("\(seen)") }
        XCTAssertEqual(sync.status.offered, .first)
        XCTAssertEqual(sync.status.lastOutcome, .available)
        XCTAssertEqual(sync.status.lastLook, shelf.time.now())
        XCTAssertNil(sync.status.lastApply)
        XCTAssertNil(sync.active)
        XCTAssertEqual(journal.entries, [])
        XCTAssertEqual(shelf.words(about: web), [], "waiting for an operator is no refusal")
        // It goes on waiting, however often somebody looks.
        for _ in 0..<2 {
            let again = try await sync.syncOnce()
            guard case .available = again.outcome else { return XCTFail("\(again)") }
        }
        XCTAssertEqual(sync.status.offered, .first)
        shelf.time.advance(by: .seconds(5))
        let applied = try await sync.applyNow()
        XCTAssertTrue(applied.isApplied)
        XCTAssertEqual(sync.status.active, .first)
        XCTAssertEqual(sync.status.lastApply, shelf.time.now())
        try await shelf.publish(["f": "2"], to: web)
        try await sync.syncOnce()
        XCTAssertEqual(sync.status.active, .first)
        await sync.setMode(.automatic)
        try await sync.syncOnce()
        XCTAssertEqual(sync.status.active, ReleaseNumber(2))
        XCTAssertNil(sync.status.offered)
    }

    func test_status_ofAFailedLook_saysSo_andKeepsTheRest() async throws {
        let shelf = try Shelf()
        let sync = shelf.sync(web)
        try await shelf.publish(["f": "1"], to: web)
        try await sync.syncOnce()
        let looked = sync.status.lastLook
        shelf.isDown = true
        shelf.time.advance(by: .seconds(5))
        do {
            try await sync.syncOnce()
            XCTFail("the source is down")
        } catch is Shelf.Down {}
        XCTAssertEqual(sync.status.lastOutcome, .failed)
        XCTAssertEqual(sync.status.lastError?.code, .unavailable)
        XCTAssertEqual(sync.status.lastLook, looked)
        XCTAssertEqual(sync.status.active, .first)
    }
}

/// Prepares for an hour, unless it is cancelled.
private struct PatientDeployer: Deployer {
    let kind: ArtifactKind = .files
    let time: any TimeSource

    func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
        try await time.sleep(for: .seconds(3_600))
    }
}
