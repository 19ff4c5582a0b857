#if Server && SQLite && Push
import ArtifactStore
import ClusterLink
import ClusterRole
import ClusterTestKit
import Configuration
import Foundation
import HTTPHandling
import HummingbirdHosting
import ReeveManager
import XCTest

/// Two whole managers, each with a store of its own, that keep copies of each other's objects.
final class ObjectManagersTests: XCTestCase {
    func test_publish_withTwoManagers_isDurableOnBoth_andNamesTheOneThatIsAway() async throws {
        let pair = try Pair()
        defer { pair.remove() }
        let first = try await pair.manager(1)
        try await running(2, try await pair.manager(2), of: pair) {
            let publication = try await first.publisher.publish(pair.source("one"), to: "site")
            let own = try await first.publisher.publish(
                pair.source("one"),
                to: "site",
                tenant: "acme"
            )
            for (bundle, tenant) in [
                (publication.bundles[0], ""), (own.bundles[0], "tenants/acme/"),
            ] {
                for manager in [1, 2] {
                    let bytes = try Data(contentsOf: pair.file(bundle.object, manager, tenant))
                    XCTAssertEqual(ContentDigest(of: Array(bytes)), bundle.object)
                }
            }
        }
        do {
            _ = try await first.publisher.publish(pair.source("two"), to: "site")
            XCTFail("It was published with one copy.")
        } catch let error as ArtifactStoreError {
            XCTAssertEqual(error.code, .notReplicated)
            XCTAssertTrue(error.message.contains("manager-2"), error.message)
        }
        let newest = try await first.publisher.latest(of: "site")
        XCTAssertEqual(newest?.release.number, .first)
        try await first.close()
    }

    func test_scrub_mendsWhatIsDamagedOrMissing_fromTheOtherManager() async throws {
        let pair = try Pair()
        defer { pair.remove() }
        let first = try await pair.manager(1)
        try await running(2, try await pair.manager(2), of: pair) {
            let one = try await first.publisher.publish(pair.source("one"), to: "site").bundles[0]
            let acme = try await first.publisher.publish(
                pair.source("acme"),
                to: "site",
                tenant: "acme"
            ).bundles[0]
            let (file, other) = (
                pair.file(one.object, 1), pair.file(acme.object, 1, "tenants/acme/")
            )
            var bytes = try Data(contentsOf: file)
            bytes[bytes.count / 2] ^= 8
            try bytes.write(to: file)
            try FileManager.default.removeItem(at: other)
            let report = try await first.objects.scrub()
            XCTAssertEqual(
                Set(report.damaged),
                [
                    .init(object: one.object, repair: .fromPeer("manager-2")),
                    .init(object: acme.object, repair: .fromPeer("manager-2")),
                ]
            )
            XCTAssertEqual(ContentDigest(of: Array(try Data(contentsOf: file))), one.object)
            XCTAssertEqual(ContentDigest(of: Array(try Data(contentsOf: other))), acme.object)
            let clean = try await first.objects.scrub()
            XCTAssertEqual(clean.damaged, [])
        }
        try await first.close()
    }

    func test_scrub_ofAnObjectNobodyHas_saysSo_andAsksNobodyForEver() async throws {
        let pair = try Pair()
        defer { pair.remove() }
        let first = try await pair.manager(1, alsoAsPeerOf: true)
        try await running(1, first, of: pair) {
            try await running(2, try await pair.manager(2, alsoAsPeerOf: true), of: pair) {
                let one = try await first.publisher.publish(pair.source("one"), to: "site")
                    .bundles[0]
                for manager in [1, 2] {
                    try FileManager.default.removeItem(at: pair.file(one.object, manager))
                }
                let report = try await first.objects.scrub()
                XCTAssertEqual(report.damaged, [.init(object: one.object, repair: .failed)])
            }
        }
    }

    func test_copies_thatAnotherManagerLost_areMadeAgain() async throws {
        let pair = try Pair()
        defer { pair.remove() }
        let first = try await pair.manager(1)
        try await running(2, try await pair.manager(2), of: pair) {
            let (one, acme) = (
                try await first.publisher.publish(pair.source("one"), to: "site").bundles[0],
                try await first.publisher.publish(pair.source("a"), to: "site", tenant: "acme")
                    .bundles[0]
            )
            let whole = try await first.objects.replicate()
            XCTAssertEqual(whole.examined, 2)
            XCTAssertEqual(whole.copied + whole.lacking, [])
            let lost = [
                pair.file(one.object, 2), pair.file(acme.object, 2, "tenants/acme/"),
            ]
            for file in lost { try FileManager.default.removeItem(at: file) }
            let mended = try await first.objects.replicate()
            XCTAssertEqual(Set(mended.copied), [one.object, acme.object])
            XCTAssertEqual(mended.lacking, [])
            for (file, object) in zip(lost, [one.object, acme.object]) {
                XCTAssertEqual(ContentDigest(of: Array(try Data(contentsOf: file))), object)
            }
            // What this manager has lost itself is the scrub's to mend, and no copy's to make.
            try FileManager.default.removeItem(at: pair.file(one.object, 1))
            let own = try await first.objects.replicate()
            XCTAssertEqual(own.examined, 1)
            XCTAssertEqual(own.copied + own.lacking, [])
        }
        let alone = try await first.objects.replicate()
        XCTAssertEqual(alone.copied, [])
        XCTAssertEqual(alone.lacking.count, 1, "the other manager is away")
        try await first.close()
    }

    func test_collection_leavesWhatIsNewPinnedOrNeededByTheOtherManager_andStopsWithoutIt()
        async throws
    {
        let pair = try Pair()
        defer { pair.remove() }
        let second = try await pair.manager(2, alsoAsPeerOf: true)
        var objects: [ContentDigest] = []
        let first = try await pair.manager(1, keeping: 2, pinned: [2])
        func left(_ manager: Int) -> [Bool] {
            objects.map {
                FileManager.default.fileExists(atPath: pair.file($0, manager).path)
            }
        }
        try await running(2, second, of: pair) {
            try await running(1, first, of: pair) {
                for version in 1...5 {
                    let publication = try await first.publisher.publish(
                        pair.source("version \(version)"),
                        to: "site"
                    )
                    objects.append(publication.bundles[0].object)
                }
                let stray = try await second.objects.own(of: .standard)
                    .put(ByteChunks([[1, 2, 3]])).digest
                let young = try await second.objects.collect()
                XCTAssertEqual(young.removed, [], "nothing is a day old")
                pair.time.advance(by: .seconds(25 * 3_600))
                // The second manager has no release at all: what it keeps is for the first.
                let copies = try await second.objects.collect()
                XCTAssertEqual(
                    Set(copies.removed),
                    [stray, objects[0], objects[2]],
                    "needed are 2, which is pinned, 4 and 5"
                )
                XCTAssertEqual(left(2), [false, true, false, true, true])
                let own = try await first.objects.collect()
                XCTAssertEqual(Set(own.removed), [objects[0], objects[2]])
                XCTAssertEqual(left(1), [false, true, false, true, true])
            }
            do {
                _ = try await second.objects.collect()
                XCTFail("It collected without asking.")
            } catch {}
            XCTAssertEqual(left(2), [false, true, false, true, true])
        }
    }

    func test_copies_areTakenFromManagersOnly() async throws {
        let pair = try Pair()
        defer { pair.remove() }
        let second = try await pair.manager(2)
        try await running(2, second, of: pair) {
            for (token, status) in [
                ("token-of-worker-number-1", 403), ("token-of-nobody-at-all", 401),
            ] {
                let peer = try pair.peer(2, token: token)
                do {
                    try await peer.keep(
                        StoredObject(digest: ContentDigest(of: [1]), byteCount: 1),
                        tenant: .standard,
                        ArtifactStore.ByteChunks([[1]])
                    )
                    XCTFail("It was taken.")
                } catch let error as ClusterLinkError {
                    // The refusal may come before the body was read, and end the connection.
                    XCTAssertTrue([status, nil].contains(error.status), "\(error)")
                }
                do {
                    _ = try await peer.needed(of: .standard)
                    XCTFail("It was told.")
                } catch let error as ClusterLinkError { XCTAssertEqual(error.status, status) }
                do {
                    _ = try await peer.missing(of: [ContentDigest(of: [1])], tenant: .standard)
                    XCTFail("It was told what is here.")
                } catch let error as ClusterLinkError { XCTAssertEqual(error.status, status) }
            }
            let kept = try await second.objects.own(of: .standard)
                .byteCount(of: ContentDigest(of: [1]))
            XCTAssertNil(kept)
        }
    }

    // MARK: - Scene

    /// Runs a manager, and begins when it listens.
    private func running(
        _ number: Int,
        _ manager: ManagerNode,
        of pair: Pair,
        _ body: () async throws -> Void
    ) async throws {
        try await whileRunning(manager) {
            try await eventually("manager \(number) listens") {
                do {
                    _ = try await pair.peer(number, token: "token-of-nobody-at-all")
                        .needed(of: .standard)
                    return true
                } catch let error as ClusterLinkError { return error.status != nil }
            }
            try await body()
        }
    }

    private struct Pair {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        let ports: [Int]
        let time: ManualTimeSource

        init() throws {
            ports = try [freePort(), freePort()]
            // Objects are as old as their files say.
            time = ManualTimeSource(startingAt: SystemTimeSource().now())
            try FileManager.default.createDirectory(
                atPath: directory,
                withIntermediateDirectories: true
            )
        }

        func remove() { try? FileManager.default.removeItem(atPath: directory) }

        /// - Parameters:
        ///   - number: 1 or 2.
        ///   - alsoAsPeerOf: whether the second one dials the first one, too.
        ///   - keeping: how many releases keep their bytes.
        ///   - pinned: releases that do, whatever their age.
        func manager(
            _ number: Int,
            alsoAsPeerOf: Bool = false,
            keeping: Int = 10,
            pinned: [Int] = []
        ) async throws -> ManagerNode {
            let other = 3 - number
            let others = number == 1 || alsoAsPeerOf
            let values: [AbsoluteConfigKey: ConfigValue] = [
                ["node", "id"]: .init(.string("manager-\(number)"), isSecret: false),
                ["node", "directory"]: .init(
                    .string("\(directory)/manager-\(number)"),
                    isSecret: false
                ),
                ["listen", "port"]: .init(.int(ports[number - 1]), isSecret: false),
                ["link", "tokens"]: .init(
                    .stringArray(["worker-1=token-of-worker-number-1"]),
                    isSecret: true
                ),
                ["objects", "tokens"]: .init(
                    .stringArray(["manager-\(other)=token-of-manager-\(other)-at-\(number)"]),
                    isSecret: true
                ),
                ["objects", "peers"]: .init(
                    .stringArray(
                        others ? ["manager-\(other)=http://127.0.0.1:\(ports[other - 1])"] : []
                    ),
                    isSecret: false
                ),
                ["objects", "peer-tokens"]: .init(
                    .stringArray(["manager-\(other)=token-of-manager-\(number)-at-\(other)"]),
                    isSecret: true
                ),
                ["objects", "kept-releases"]: .init(.int(keeping), isSecret: false),
                ["objects", "pinned"]: .init(
                    .stringArray(pinned.map { "site@\($0)" }),
                    isSecret: false
                ),
                ["objects", "collect", "interval"]: 0.0,
                ["objects", "scrub", "interval"]: 0.0,
                ["publish", "updates-from"]: 0,
            ]
            var configuration = try ManagerConfiguration(
                reading: ConfigReader(provider: InMemoryProvider(values: values))
            )
            configuration.time = time
            configuration.logger = quietLogger
            return try await ManagerNode.open(configuration)
        }

        func peer(_ number: Int, token: String) throws -> LinkObjectPeer {
            LinkObjectPeer(
                name: "manager-\(number)",
                try LinkClient(
                    node: "manager-1",
                    configuration: LinkClientConfiguration(
                        addresses: ["http://127.0.0.1:\(ports[number - 1])"],
                        token: token
                    ),
                    logger: quietLogger
                )
            )
        }

        func source(_ text: String) throws -> String {
            let path = "\(directory)/source"
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true
            )
            try text.write(toFile: "\(path)/index.html", atomically: true, encoding: .utf8)
            return path
        }

        func file(_ object: ContentDigest, _ manager: Int, _ tenant: String = "") -> URL {
            let name = object.description
            return URL(
                fileURLWithPath:
                    "\(directory)/manager-\(manager)/objects/\(tenant)\(name.prefix(2))/\(name)"
            )
        }
    }
}
#endif
