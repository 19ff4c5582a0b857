import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

/// The suites of events and webhooks fail on drivers that are broken on purpose.
final class BrokenEventTests: XCTestCase {
    private func expectFailure(
        at step: String,
        file: StaticString = #filePath,
        line: UInt = #line,
        _ run: () async throws -> ConformanceReport
    ) async {
        do {
            let report = try await run()
            XCTFail("the broken driver passed: \(report)", file: file, line: line)
        } catch let failure as ConformanceFailure {
            XCTAssertEqual(failure.step, step, "\(failure)", file: file, line: line)
        } catch {
            XCTFail("not a ConformanceFailure: \(error)", file: file, line: line)
        }
    }

    private func events(
        _ change: @escaping @Sendable (inout BrokenEvents) -> Void
    ) -> StoreFactory {
        {
            let cluster = InMemoryCluster()
            var store = cluster.storeUnderTest
            var broken = BrokenEvents(base: cluster.operations)
            change(&broken)
            store.events = broken
            return store
        }
    }

    func test_events_thatLoseWhatFollowsTheFirstOfARevision_areCaught() async {
        let factory = events { broken in
            broken.onPage = { page in page.events.removeAll { $0.position.index != 0 } }
        }
        await expectFailure(
            at: "the answer that finishes an activity is followed by the activity's event"
        ) { try await EventReaderConformance(factory).run() }
    }

    func test_events_cutWithinARevision_areCaught() async {
        let factory = events { broken in
            broken.onPage = { page in if page.events.count > 2 { page.events.removeLast() } }
        }
        await expectFailure(at: "an enqueued operation is one event, whomever it addresses") {
            try await EventReaderConformance(factory).run()
        }
    }

    func test_events_ofAnyTenant_areCaught() async {
        let factory = events { broken in broken.tenant = TenantID(rawValue: "conformance") }
        await expectFailure(at: "events of tenants never cross") {
            try await EventReaderConformance(factory).run()
        }
    }

    func test_events_readFromAnyHistory_areCaught() async {
        let factory = events { broken in broken.readsAnyHistory = true }
        await expectFailure(
            at: "a position that cannot be read from is refused, naming the floor"
        ) { try await EventReaderConformance(factory).run() }
    }

    func test_webhooks_thatSettleFromAnyCursor_areCaught() async {
        let factory: StoreFactory = {
            let cluster = InMemoryCluster()
            var store = cluster.storeUnderTest
            store.webhooks = BrokenWebhooks(base: cluster.webhooks)
            return store
        }
        await expectFailure(at: "a settlement counts once, from the cursor it was made at") {
            try await WebhookStorageConformance(factory).run()
        }
    }
}

/// Events broken in one way, over events that work.
private struct BrokenEvents: EventReader {
    let base: any EventReader
    var onPage: @Sendable (inout EventPage) -> Void = { _ in }
    var tenant: TenantID?
    var readsAnyHistory = false

    func currentRevision() async throws -> Revision { try await base.currentRevision() }

    func events(
        after revision: Revision,
        limit: Int,
        tenant: TenantID
    ) async throws -> EventPage {
        var revision = revision
        if readsAnyHistory {
            let newest = try await base.currentRevision()
            revision = Revision(
                history: newest.history,
                number: min(revision.number, newest.number)
            )
        }
        var page = try await base.events(
            after: revision,
            limit: limit,
            tenant: self.tenant ?? tenant
        )
        onPage(&page)
        return page
    }

    func revision(before time: Timestamp) async throws -> Revision {
        try await base.revision(before: time)
    }
}

/// Settles whatever the cursor says.
private struct BrokenWebhooks: WebhookStorage {
    let base: InMemoryWebhookStorage

    func subscribe(
        _ webhook: WebhookSubscription,
        secret: WebhookSecret,
        epoch: Epoch
    ) async throws { try await base.subscribe(webhook, secret: secret, epoch: epoch) }

    func unsubscribe(_ id: WebhookID, tenant: TenantID, epoch: Epoch) async throws -> Bool {
        try await base.unsubscribe(id, tenant: tenant, epoch: epoch)
    }

    func webhooks(tenant: TenantID?) async throws -> [WebhookSubscription] {
        try await base.webhooks(tenant: tenant)
    }

    func webhook(_ id: WebhookID) async throws -> (WebhookSubscription, WebhookSecret)? {
        try await base.webhook(id)
    }

    func settle(
        _ settlement: WebhookSettlement,
        of id: WebhookID,
        from cursor: EventPosition,
        epoch: Epoch
    ) async throws {
        let actual = try await base.webhook(id)?.0.progress.cursor ?? cursor
        try await base.settle(settlement, of: id, from: actual, epoch: epoch)
    }

    func deadLetters(
        of id: WebhookID,
        after number: Int64,
        limit: Int,
        tenant: TenantID
    ) async throws -> [WebhookDeadLetter] {
        try await base.deadLetters(of: id, after: number, limit: limit, tenant: tenant)
    }

    func forget(
        deadLetter number: Int64,
        of id: WebhookID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws {
        try await base.forget(deadLetter: number, of: id, tenant: tenant, epoch: epoch)
    }
}
