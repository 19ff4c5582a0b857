#if SQLite
import ClusterMembership
import ClusterRole
import DeviceRegistry
import Foundation
import NotificationDispatch
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

/// Events where the file itself matters: a log that was cut, and one that an older build wrote.
final class EventLogTests: XCTestCase {
    func test_aLogThatWasCut_refusesWhatIsGoneAndNamesItsFloor() async throws {
        var configuration = EmbeddedStoreConfiguration()
        configuration.keptRevisions = 10
        let scene = try await EmbeddedScene.open(configuration: configuration)
        let start = try await scene.store.currentRevision()
        let row = try await scene.enrol("d-1")
        _ = try await scene.enqueue(scene.plan(.devices([row.id])))
        for index in 0..<300 {
            _ = try await scene.store.append(
                [.channel(tenant: scene.tenant, name: "c-\(index)")],
                epoch: scene.epoch
            )
        }
        let receipt = try await scene.enqueue(scene.plan(.devices([row.id])))
        do {
            _ = try await scene.store.events(after: start, limit: 10, tenant: scene.tenant)
            XCTFail("events that were cut from the log were read")
        } catch let error as OperationQueueError {
            XCTAssertEqual(error.code, .eventsGone)
            let floor = try XCTUnwrap(error.floor)
            XCTAssertEqual(floor, Revision(history: scene.store.history, number: 246))
            let page = try await scene.store.events(
                after: floor,
                limit: 10,
                tenant: scene.tenant
            )
            XCTAssertEqual(page.events.map(\.activity), [receipt.activity])
            XCTAssertTrue(page.isLast)
        }
        let before = try await scene.store.revision(before: scene.now - .seconds(9))
        XCTAssertEqual(before.number, 246)
        try await scene.store.close()
    }

    func test_entriesOfAnOlderBuild_holdKeysAndNoEvents() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        let start = try await scene.store.currentRevision()
        let key = ChangeKey.channel(tenant: scene.tenant, name: "site")
        let number = start.number + 1
        _ = try await scene.store.file.write { connection in
            // Version 1: no note between the version and the keys.
            let newer = ChangeKeyCoding.encode([key], note: nil)
            XCTAssertEqual(Array(newer[..<2]), [2, 0])
            try connection.run(
                sealedFor: "revision_log",
                "INSERT INTO revision_log (number, keys, sum) VALUES (?, ?, ?)",
                number,
                [1] + Array(newer[2...])
            )
            try connection.setMetaNumber(MetaName.revision, number)
        }
        let receipt = try await scene.enqueue(scene.plan(.devices([row.id])))
        let changes = try await scene.store.changes(after: start, limit: 10)
        XCTAssertEqual(changes.first?.keys, [key])
        let page = try await scene.store.events(after: start, limit: 10, tenant: scene.tenant)
        XCTAssertEqual(page.events.map(\.activity), [receipt.activity])
        try await scene.store.close()
    }

    func test_webhooksSecret_isNotInTheFileInPlain_andOpensNowhereElse() async throws {
        let scene = try await EmbeddedScene.open()
        let secret = WebhookSecret(from: scene.random)
        func webhook(_ id: UInt128) -> WebhookSubscription {
            WebhookSubscription(
                id: WebhookID(bits: id),
                tenant: scene.tenant,
                url: "https://hooks.example/\(id)",
                filter: .everything,
                createdAt: scene.now,
                progress: WebhookProgress(
                    cursor: EventPosition(Revision(history: scene.store.history, number: 0))
                )
            )
        }
        try await scene.store.subscribe(webhook(1), secret: secret, epoch: scene.epoch)
        try await scene.store.subscribe(
            webhook(2),
            secret: WebhookSecret(from: scene.random),
            epoch: scene.epoch
        )
        // The sealed secret of one in the row of the other.
        _ = try await scene.store.file.write { connection in
            guard let from = try connection.webhook(WebhookID(bits: 1)),
                var to = try connection.webhook(WebhookID(bits: 2))
            else { return XCTFail("the subscriptions are not there") }
            to.secret = from.secret
            try to.store(connection)
        }
        do {
            _ = try await scene.store.webhook(WebhookID(bits: 2))
            XCTFail("a secret opened in another subscription's row")
        } catch let error as DeviceRegistryError {
            XCTAssertEqual(error.code, .damagedSecret)
        }
        try await scene.store.close()
        for suffix in ["", "-wal"] {
            let path = scene.file.path + suffix
            guard let bytes = FileManager.default.contents(atPath: path) else { continue }
            XCTAssertNil(bytes.range(of: Data(secret.bytes)), path)
        }
    }
}
#endif
