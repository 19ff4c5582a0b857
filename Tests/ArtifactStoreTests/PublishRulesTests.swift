import ArtifactStore
import ClusterRole
import Foundation
import Synchronization
import XCTest

final class PublishRulesTests: XCTestCase {
    /// Refuses trees with a file of a name, and notes what it saw.
    private final class NoSuchFile: PublishValidator {
        struct Broken: Error {}
        let name: TreePath
        let seen = Mutex<[PublishCandidate]>([])

        init(_ name: TreePath) { self.name = name }

        func verdict(on candidate: PublishCandidate) async throws -> PublishVerdict {
            seen.withLock { $0.append(candidate) }
            if candidate.tree.entries.contains(where: { $0.path == "broken" }) { throw Broken() }
            let isThere = candidate.tree.entries.contains { $0.path == name }
            return isThere ? .refuse(reason: "\(name) has no place here.") : .accept
        }
    }

    private func publish(
        _ harness: Harness,
        _ channel: ChannelName,
        needs: [ReleaseDependency] = [],
        _ files: [String: String] = ["a": "x"]
    ) async throws -> Publication {
        var options = PublishOptions()
        options.dependencies = needs
        options.repetition = .publishAgain
        let path = try harness.directory.write(files, in: "source-\(UUID().uuidString)")
        return try await harness.publisher.publish(path, to: channel, options: options)
    }

    func test_validator_seesTheTreeAndTheChanges_andItsRefusalPublishesNothing() async throws {
        let validator = NoSuchFile("secret.pem")
        let harness = try Harness { $0.validators = [validator] }
        _ = try await harness.publish(["a": "one", "b": "same", "c": "gone"])
        let error = await assertThrows(.rejected) {
            _ = try await harness.publish(["a": "two", "b": "same", "secret.pem": "key"])
        }
        XCTAssertEqual(error?.message, "The tree is refused: secret.pem has no place here.")
        let seen = validator.seen.withLock { $0 }
        XCTAssertEqual(seen.count, 2)
        XCTAssertNil(seen[0].current)
        XCTAssertEqual(seen[0].changes.added, ["a", "b", "c"])
        XCTAssertEqual(seen[1].current?.number, .first)
        XCTAssertEqual(seen[1].changes.changed, ["a"])
        XCTAssertEqual(seen[1].changes.added, ["secret.pem"])
        XCTAssertEqual(seen[1].changes.removed, ["c"])
        XCTAssertEqual(seen[1].changes.newBytes, 6)
        XCTAssertEqual(seen[1].changes.removedBytes, 4)
        await assertThrows(.rejected) { _ = try await harness.publish(["broken": "x"]) }
        let newest = try await harness.releases.latest(of: Harness.channel, tenant: .standard)
        XCTAssertEqual(newest?.release.number, .first)
    }

    func test_preview_tellsWhatWouldChange_andPublishesAndStoresNothing() async throws {
        let harness = try Harness()
        let first = try harness.directory.write(["a": "one", "b": "same"], in: "one")
        let begin = try await harness.publisher.preview(first, to: Harness.channel)
        XCTAssertEqual(begin.number, .first)
        XCTAssertNil(begin.current)
        XCTAssertEqual(begin.changes.added, ["a", "b"])
        XCTAssertNil(begin.updateBundleBytes)
        XCTAssertEqual(harness.objects.digests, [])
        let published = try await harness.publisher.publish(first, to: Harness.channel)
        XCTAssertEqual(published.bundles.map(\.byteCount), [begin.fullBundleBytes])
        XCTAssertEqual(published.release.release.root, begin.root)
        let again = try await harness.publisher.preview(first, to: Harness.channel)
        XCTAssertEqual(again.outcome, .unchanged)
        XCTAssertTrue(again.changes.isEmpty)
        let objects = harness.objects.digests
        let second = try harness.directory.write(["a": "two!", "b": "same"], in: "two")
        let next = try await harness.publisher.preview(second, to: Harness.channel)
        XCTAssertEqual(next.outcome, .published)
        XCTAssertEqual(next.number, ReleaseNumber(2))
        XCTAssertEqual(next.current, published.release.release)
        XCTAssertEqual(next.changes.changed, ["a"])
        XCTAssertEqual(next.changes.newBytes, 4)
        XCTAssertEqual(harness.objects.digests, objects)
        let newest = try await harness.releases.latest(of: Harness.channel, tenant: .standard)
        XCTAssertEqual(newest?.release.number, .first)
        let after = try await harness.publisher.publish(second, to: Harness.channel)
        XCTAssertEqual(after.bundles.first?.byteCount, next.fullBundleBytes)
        XCTAssertEqual(after.bundles.dropFirst().first?.byteCount, next.updateBundleBytes)
    }

    func test_conflict_holdsBothSidesSignedReleases() async throws {
        let harness = try Harness()
        _ = try await harness.publish(["a": "0"])
        // Each reads the same newest release before either appends: one validator holds them.
        let gate = Gate(parties: 2)
        func publisher(_ name: PublisherName) throws -> (ArtifactPublisher, PublishOptions) {
            var configuration = PublisherConfiguration()
            configuration.scratchDirectory = harness.directory.path
            configuration.time = harness.time
            configuration.validators = [gate]
            var options = PublishOptions()
            options.publisher = name
            let publisher = ArtifactPublisher(
                storage: harness.releases,
                objects: harness.objects,
                signer: harness.signer,
                capability: harness.capability,
                configuration: configuration
            )
            return (publisher, options)
        }
        let names: [PublisherName] = ["anna", "bert"]
        let outcomes = try await withThrowingTaskGroup(
            of: Result<Publication, any Error>.self
        ) { group in
            for name in names {
                let (publisher, options) = try publisher(name)
                let path = try harness.directory.write(["a": name.rawValue], in: name.rawValue)
                group.addTask {
                    do {
                        return .success(
                            try await publisher.publish(
                                path,
                                to: Harness.channel,
                                options: options
                            )
                        )
                    } catch {
                        return .failure(error)
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let won = outcomes.compactMap { try? $0.get() }
        XCTAssertEqual(won.count, 1)
        let winner = try XCTUnwrap(won.first).release.published.signed
        var errors: [ArtifactStoreError] = []
        for case .failure(let error as ArtifactStoreError) in outcomes { errors.append(error) }
        let conflict = try XCTUnwrap(errors.first?.conflict)
        XCTAssertEqual(errors.first?.code, .conflict)
        XCTAssertEqual(conflict.newest, winner)
        XCTAssertEqual(conflict.actual, ReleaseNumber(2))
        let offered = try XCTUnwrap(conflict.offered)
        XCTAssertEqual(
            Set([winner.release.publisher, offered.release.publisher].compactMap { $0 }),
            Set(names)
        )
        XCTAssertNotEqual(offered.release.root, winner.release.root)
        XCTAssertNoThrow(try TrustedKeys(harness.signer.publicKey).verify(offered))
        let message = errors.first?.message ?? ""
        XCTAssertTrue(message.contains(winner.release.publisher?.rawValue ?? "?"), message)
    }

    func test_dependencies_mustBeThere_inTheTenant_atThatRelease() async throws {
        let harness = try Harness()
        let need = ReleaseDependency("lib/base", atLeast: ReleaseNumber(2))
        let missing = await assertThrows(.dependencyMissing) {
            _ = try await publish(harness, "app", needs: [need])
        }
        XCTAssertTrue(missing?.message.contains("lib/base") == true)
        _ = try await publish(harness, "lib/base")
        await assertThrows(.dependencyMissing) {
            _ = try await publish(harness, "app", needs: [need])
        }
        _ = try await publish(harness, "lib/base")
        let published = try await publish(harness, "app", needs: [need])
        XCTAssertEqual(published.release.release.dependencies, [need])
        // Another tenant's channel of that name does not count.
        var options = PublishOptions()
        options.dependencies = [need]
        let path = try harness.directory.write(["a": "x"], in: "other")
        await assertThrows(.dependencyMissing) {
            _ = try await harness.publisher.publish(
                path,
                to: "app",
                tenant: "other",
                options: options
            )
        }
    }

    func test_dependencies_inACircle_areRefused_andTheCircleIsNamed() async throws {
        let harness = try Harness()
        _ = try await publish(harness, "a")
        _ = try await publish(harness, "b", needs: [ReleaseDependency("a")])
        _ = try await publish(harness, "c", needs: [ReleaseDependency("b")])
        let error = await assertThrows(.dependencyCycle) {
            _ = try await publish(harness, "a", needs: [ReleaseDependency("c")])
        }
        XCTAssertTrue(
            error?.message.contains("a needs c needs b needs a") == true,
            error?.message ?? ""
        )
        await assertThrows(.dependencyCycle) {
            _ = try await publish(harness, "a", needs: [ReleaseDependency("a")])
        }
    }

    func test_graph_ordersWhatIsNeededFirst_andTheReverseForRemoving() async throws {
        let graph = DependencyGraph([
            "app": [ReleaseDependency("lib/b"), ReleaseDependency("lib/a")],
            "lib/b": [ReleaseDependency("base")], "lib/a": [ReleaseDependency("base")],
            "lone": [],
        ])
        let order = try graph.order()
        XCTAssertEqual(order, ["base", "lone", "lib/a", "lib/b", "app"])
        XCTAssertEqual(try graph.removalOrder(), order.reversed())
        let circle = DependencyGraph([
            "x": [ReleaseDependency("y")], "y": [ReleaseDependency("z")],
            "z": [ReleaseDependency("y")],
        ])
        let error = await assertThrows(.dependencyCycle) { _ = try circle.order() }
        XCTAssertTrue(
            error?.message.contains("y needs z needs y") == true,
            "\(error?.message ?? "")"
        )
    }

    func test_changedRequirements_ofTheSameTree_areANewRelease() async throws {
        let harness = try Harness()
        let path = try harness.directory.write(["a": "x"])
        _ = try await harness.publisher.publish(path, to: Harness.channel)
        var options = PublishOptions()
        options.requirements = ReleaseRequirements(capabilities: ["gpu"])
        let second = try await harness.publisher.publish(
            path,
            to: Harness.channel,
            options: options
        )
        XCTAssertEqual(second.outcome, .published)
        XCTAssertEqual(second.release.release.requirements.capabilities, ["gpu"])
        let third = try await harness.publisher.publish(
            path,
            to: Harness.channel,
            options: options
        )
        XCTAssertEqual(third.outcome, .unchanged)
    }

    func test_signerOfTheUsers_mayTakeItsTime_andMayRefuse() async throws {
        struct Remote: ReleaseSigner {
            struct Refused: Error {}
            let key: Ed25519Signer
            let mayRefuse: Bool
            var publicKey: ReleasePublicKey { key.publicKey }
            func signature(for message: [UInt8]) async throws -> [UInt8] {
                await Task.yield()
                if mayRefuse { throw Refused() }
                return try await key.signature(for: message)
            }
        }
        let key = try Ed25519Signer()
        let good = try Harness { $0.cosigners = [Remote(key: key, mayRefuse: false)] }
        let published = try await good.publish(["a": "x"])
        XCTAssertEqual(published.release.published.signed.signatures.count, 2)
        let bad = try Harness { $0.cosigners = [Remote(key: key, mayRefuse: true)] }
        do {
            _ = try await bad.publish(["a": "x"])
            XCTFail("published without its signature")
        } catch is Remote.Refused {}
        let newest = try await bad.releases.latest(of: Harness.channel, tenant: .standard)
        XCTAssertNil(newest)
    }
}

/// Lets nobody pass before all are there.
private final class Gate: PublishValidator {
    private let state: Mutex<(missing: Int, waiting: [CheckedContinuation<Void, Never>])>

    init(parties: Int) { state = Mutex((parties, [])) }

    func verdict(on candidate: PublishCandidate) async throws -> PublishVerdict {
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state in
                state.missing -= 1
                state.waiting.append(continuation)
                guard state.missing == 0 else { return [CheckedContinuation<Void, Never>]() }
                return state.waiting
            }
            for one in ready { one.resume() }
        }
        return .accept
    }
}
