import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

final class ReplicaImageTests: XCTestCase {
    private let node = NodeID(rawValue: "w1")

    /// Takes pages until the image is exact; between pages, `disturb` may write.
    private func catchUp(
        _ image: inout ReplicaImage,
        from house: House,
        limit: Int,
        disturb: () async throws -> Void = {}
    ) async throws {
        var cursor: ReplicaCursor?
        for _ in 0..<10_000 {
            let page = try await house.storage.page(
                after: cursor == nil ? image.revision : nil,
                cursor: cursor,
                limit: limit,
                for: node
            )
            XCTAssertLessThanOrEqual(page.rows.count, limit)
            // Through the codec, as on the link.
            XCTAssertTrue(image.apply(try ReplicaPage(decoding: page.encoded())))
            cursor = page.next
            if cursor != nil { try await disturb() }
            if cursor == nil && image.isSettled && image.revision == house.ledger.revision {
                return
            }
        }
        XCTFail("the image never caught up")
    }

    private func assertEqual(
        _ image: ReplicaImage,
        _ house: House,
        _ names: [DeviceID],
        _ context: String
    ) async throws {
        for name in names {
            let expected = try await house.storage.openWork(for: name, tenant: .standard)
            XCTAssertEqual(image.openWork(for: name, tenant: .standard), expected, context)
            if let row = expected?.device {
                XCTAssertEqual(image.device(credential: row.credential), row, context)
            }
        }
        let enrolled = try await house.devices.devices(
            in: nil,
            after: nil,
            limit: 1_000,
            tenant: .standard
        ).filter { $0.row.state == .enrolled }
        XCTAssertEqual(image.deviceCount, enrolled.count, context)
    }

    func test_image_randomHistories_equalsTheStoreBySnapshotAndByDeltas() async throws {
        for seed in 1...12 as ClosedRange<UInt64> {
            let history = History(seed: seed)
            var followed = ReplicaImage()
            for step in 0..<220 {
                try await history.step()
                guard history.random.number(below: 8) == 0 else { continue }
                let limit = 1 + Int(history.random.number(below: 40))
                try await catchUp(&followed, from: history.house, limit: limit)
                try await assertEqual(
                    followed,
                    history.house,
                    history.names,
                    "by deltas, seed \(seed), step \(step)"
                )
                guard step.isMultiple(of: 5) else { continue }
                var fresh = ReplicaImage()
                var disturbances = 5
                try await catchUp(&fresh, from: history.house, limit: limit) {
                    guard disturbances > 0, history.random.number(below: 10) == 0 else { return }
                    disturbances -= 1
                    try await history.step()
                }
                try await assertEqual(
                    fresh,
                    history.house,
                    history.names,
                    "by snapshot, seed \(seed), step \(step)"
                )
            }
        }
    }

    func test_image_duringASnapshot_answersFromTheOldOne() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var image = ReplicaImage()
        try await catchUp(&image, from: house, limit: 10)
        let before = image.openWork(for: device.device, tenant: .standard)
        XCTAssertNotNil(before)
        let first = try await house.storage.page(after: nil, cursor: nil, limit: 1, for: node)
        XCTAssertNotNil(first.next)
        XCTAssertTrue(image.apply(first))
        XCTAssertEqual(image.openWork(for: device.device, tenant: .standard), before)
    }

    func test_image_deltaThatGoesBackOrIsOfAnotherHistory_isRefused() async throws {
        let house = House()
        try await house.enrol("d")
        var image = ReplicaImage()
        try await catchUp(&image, from: house, limit: 10)
        let old = ReplicaPage(
            content: .delta,
            rows: [],
            revision: Revision(history: house.ledger.revision.history, number: 0),
            next: nil,
            epoch: house.ledger.epoch
        )
        XCTAssertFalse(image.apply(old))
        let foreign = ReplicaPage(
            content: .delta,
            rows: [],
            revision: Revision(history: HistoryID(bits: 99), number: 9_999),
            next: nil,
            epoch: house.ledger.epoch
        )
        XCTAssertFalse(image.apply(foreign))
        XCTAssertEqual(image.revision, house.ledger.revision)
    }

    func test_overlay_drainHeldStill_neverOffersAgainWhatWasReported() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.command("a", to: device)
        _ = try await house.command("b", to: device)
        let worker = HeldWorker(node: node)
        try await worker.catchUp(from: house)
        let exchange = DeviceExchange(
            reader: worker,
            inbox: worker,
            settings: .init(clock: house.clock, random: house.random)
        )
        let first = try await exchange.exchange(device: device)
        XCTAssertEqual(first.codes, ["a", "b"])
        let result = ExecutionResult(
            execution: first.operations[0].execution,
            attempt: first.operations[0].attempt,
            outcome: .completed
        )
        let report = ExchangeReport(results: [result], redelivery: .now)
        let second = try await exchange.exchange(device: device, report: report)
        XCTAssertEqual(second.codes, ["b"], "a is done, though the manager has not heard of it")
        house.clock.advance(by: .seconds(600))
        let third = try await exchange.exchange(device: device)
        XCTAssertEqual(third.codes, ["b"])
        try await worker.drain(into: house)
        let count = await worker.overlayCount
        XCTAssertGreaterThan(count, 0, "applied there is not contained here")
        try await worker.catchUp(from: house)
        let dropped = await worker.overlayCount
        XCTAssertEqual(dropped, 0)
        let fourth = try await exchange.exchange(device: device, report: ExchangeReport())
        XCTAssertEqual(fourth.codes, [])
        // The whole spool once more: the mark skips it.
        let receipt = try await worker.drain(into: house)
        XCTAssertEqual(receipt.applied, 0)
    }

    func test_apply_entriesOfStrangers_areKeptAsRejected() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let other = try await house.enrol("e")
        let receipt = try await house.command("a", to: device)
        let operation = try await house.browser.activity(receipt.activity).operation.id
        let stranger = DeviceIdentity(
            tenant: .standard,
            device: DeviceID(rawValue: "x"),
            incarnation: IncarnationID(bits: 1)
        )
        let old = DeviceIdentity(
            tenant: .standard,
            device: device.device,
            incarnation: IncarnationID(bits: 1)
        )
        func result(_ identity: DeviceIdentity, _ id: OperationID) -> InboxEntry {
            let body = InboxEntry.Body.result(id, attempt: nil, outcome: .completed, detail: [])
            return InboxEntry(identity: identity, receivedAt: house.clock.now(), body: body)
        }
        let entries = [
            result(stranger, operation), result(old, operation), result(other, operation),
            result(device, OperationID(bits: 1)), result(device, operation),
        ]
        let mark = SpoolMark(node: node, incarnation: IncarnationID(bits: 5), number: 5)
        let applied = try await house.storage.apply(
            entries.enumerated().map { SpooledEntry(number: Int64($0 + 1), entry: $1) },
            from: mark,
            epoch: house.capability.epoch,
            at: house.clock.now()
        )
        XCTAssertEqual(applied.rejected, 4)
        XCTAssertEqual(applied.applied, 1)
        XCTAssertEqual(applied.mark, mark)
        XCTAssertEqual(
            house.storage.rejections.map(\.reason),
            ["unknown device", "of another enrolment", "not addressed", "unknown operation"]
        )
    }
}

/// A worker whose drain is moved by hand.
private actor HeldWorker: PendingWorkReader, DeviceInbox {
    private let node: NodeID
    private let incarnation = IncarnationID(bits: 50)
    private var image = ReplicaImage()
    private var overlay = SpoolOverlay(incarnation: IncarnationID(bits: 50))
    private var spool: [SpooledEntry] = []

    init(node: NodeID) { self.node = node }

    var overlayCount: Int { overlay.count }

    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        guard var work = image.openWork(for: device, tenant: tenant) else { return nil }
        overlay.apply(to: &work)
        return work
    }

    func accept(_ entries: [InboxEntry]) async throws {
        let accepted = entries.enumerated().map {
            SpooledEntry(number: Int64(spool.count + $0 + 1), entry: $1)
        }
        spool += accepted
        overlay.accept(accepted)
    }

    @discardableResult
    func drain(into house: House) async throws -> ApplyReceipt {
        try await house.storage.apply(
            spool,
            from: SpoolMark(node: node, incarnation: incarnation, number: Int64(spool.count)),
            epoch: house.capability.epoch,
            at: house.clock.now()
        )
    }

    func catchUp(from house: House) async throws {
        var cursor: ReplicaCursor?
        repeat {
            let page = try await house.storage.page(
                after: cursor == nil ? image.revision : nil,
                cursor: cursor,
                limit: 100,
                for: node
            )
            image.apply(page)
            cursor = page.next
        } while cursor != nil || !image.isSettled
        if let mark = image.mark { overlay.drop(through: mark) }
    }
}
