import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import Synchronization
import XCTest

/// A body in pieces that may break off.
private struct Pieces: AsyncSequence, Sendable {
    typealias Element = [UInt8]
    struct BrokenOff: Error {}

    var pieces: [[UInt8]]
    var breaksOff = false

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ArraySlice<[UInt8]>
        var breaksOff: Bool

        mutating func next() async throws -> [UInt8]? {
            if rest.isEmpty && breaksOff { throw BrokenOff() }
            return rest.popFirst()
        }
    }

    func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(rest: pieces[...], breaksOff: breaksOff)
    }
}

final class LargeResultTests: XCTestCase {
    /// SHA-256 of the three bytes "abc" (FIPS 180-2, appendix B.1).
    private let digestOfABC: [UInt8] = [
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22,
        0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00,
        0x15, 0xad,
    ]

    private func scene() async throws -> (
        house: House, device: DeviceIdentity, receipt: EnqueueReceipt, offer: OfferedOperation
    ) {
        let house = House()
        let device = try await house.enrol("d")
        let receipt = try await house.command("logs", to: device)
        let offer = try await house.poll(device).operations[0]
        return (house, device, receipt, offer)
    }

    private func bytes(of content: LargeResultContent) async throws -> [[UInt8]] {
        var all: [[UInt8]] = []
        for try await chunk in content.chunks { all.append(chunk) }
        return all
    }

    func test_largeResult_inPiecesOfAnySize_isReadBackAndCompletesTheExecution() async throws {
        let (house, device, receipt, offer) = try await scene()
        let sent = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        var pieces: [[UInt8]] = []
        for start in stride(from: 0, to: sent.count, by: 70_001) {
            pieces.append(Array(sent[start..<min(start + 70_001, sent.count)]))
        }
        let taken = try await house.exchange.accept(
            LargeResultHead(
                execution: offer.execution,
                attempt: offer.attempt,
                declaredBytes: sent.count
            ),
            body: Pieces(pieces: pieces),
            device: device
        )
        XCTAssertEqual(taken.bytes, sent.count)
        XCTAssertFalse(taken.wasKnown)
        let content = try await house.browser.largeResult(
            of: receipt.activity,
            on: device.device
        )
        XCTAssertEqual(content.result.bytes, Int64(sent.count))
        XCTAssertEqual(content.result.digest, taken.digest)
        let chunks = try await bytes(of: content)
        XCTAssertEqual(chunks.map(\.count), [262_144, 262_144, 75_712])
        XCTAssertEqual(chunks.flatMap { $0 }, sent)
        let execution = try await house.browser.executions(of: receipt.activity).executions[0]
        XCTAssertEqual(execution.state, .completed)
        let detail = String(decoding: execution.detail, as: UTF8.self)
        XCTAssertTrue(detail.hasPrefix(#"{"largeResult":{"bytes":600000,"sha256":""#), detail)
        // Sent again, because the answer was lost.
        let again = try await house.exchange.accept(
            LargeResultHead(execution: offer.execution),
            body: Pieces(pieces: [[1]]),
            device: device
        )
        XCTAssertEqual(again.bytes, 1)
        let kept = try await house.browser.largeResult(of: receipt.activity, on: device.device)
        XCTAssertEqual(kept.result, content.result, "the first complete upload stays")
    }

    func test_largeResult_withDigest_isVerified() async throws {
        let (house, device, receipt, offer) = try await scene()
        var head = LargeResultHead(execution: offer.execution, outcome: .failed)
        head.digest = digestOfABC
        await assertThrows(.digestMismatch) {
            try await house.exchange.accept(
                head,
                body: Pieces(pieces: [Array("abd".utf8)]),
                device: device
            )
        }
        let open = try await house.counts(of: receipt)
        XCTAssertEqual(open[.delivered], 1, "nothing is final after a mismatch")
        let taken = try await house.exchange.accept(
            head,
            body: Pieces(pieces: [Array("ab".utf8), [], Array("c".utf8)]),
            device: device
        )
        XCTAssertEqual(taken.digest, digestOfABC)
        let counts = try await house.counts(of: receipt)
        XCTAssertEqual(counts[.failed], 1)
    }

    func test_largeResult_empty_isOneEmptyChunk() async throws {
        let (house, device, receipt, offer) = try await scene()
        _ = try await house.exchange.accept(
            LargeResultHead(execution: offer.execution),
            body: Pieces(pieces: []),
            device: device
        )
        let content = try await house.browser.largeResult(of: receipt.activity, on: device.device)
        let chunks = try await bytes(of: content)
        XCTAssertEqual(chunks, [[]])
    }

    func test_largeResult_interruptedTooLargeForeignOrWrong_isRefusedByItsCode() async throws {
        let (house, device, receipt, offer) = try await scene()
        let other = try await house.enrol("other")
        let head = LargeResultHead(execution: offer.execution)
        let whole = Pieces(pieces: [Array(repeating: 1, count: 300_000)])
        var broken = whole
        broken.breaksOff = true
        await assertThrows(.uploadInterrupted) { [broken] in
            try await house.exchange.accept(head, body: broken, device: device)
        }
        var declared = head
        declared.declaredBytes = 300_001
        await assertThrows(.uploadInterrupted) { [declared] in
            try await house.exchange.accept(declared, body: whole, device: device)
        }
        declared.declaredBytes = 17 << 20
        await assertThrows(.tooLarge) { [declared] in
            try await house.exchange.accept(declared, body: whole, device: device)
        }
        let many = Pieces(pieces: Array(repeating: Array(repeating: 7, count: 1 << 20), count: 17))
        await assertThrows(.tooLarge) {
            try await house.exchange.accept(head, body: many, device: device)
        }
        await assertThrows(.foreignExecution) {
            try await house.exchange.accept(head, body: whole, device: other)
        }
        let deferred = LargeResultHead(
            execution: offer.execution,
            outcome: .awaitingConfirmation
        )
        await assertThrows(.invalidRequest) {
            try await house.exchange.accept(deferred, body: whole, device: device)
        }
        await assertThrows(.noLargeResult) {
            try await house.browser.largeResult(of: receipt.activity, on: device.device)
        }
        let counts = try await house.counts(of: receipt)
        XCTAssertEqual(counts[.delivered], 1, "nothing of it made the execution final")
        _ = try await house.exchange.accept(head, body: whole, device: device)
        let content = try await house.browser.largeResult(of: receipt.activity, on: device.device)
        XCTAssertEqual(content.result.bytes, 300_000)
    }

    func test_largeResult_neverMoreThanAChunk_isInOneEntry() async throws {
        let (house, device, _, offer) = try await scene()
        let inbox = RecordingDeviceInbox(house.inbox)
        let exchange = DeviceExchange(
            reader: house.storage,
            inbox: inbox,
            settings: .init(clock: house.clock, random: house.random)
        )
        _ = try await exchange.accept(
            LargeResultHead(execution: offer.execution),
            body: Pieces(pieces: [Array(repeating: 1, count: 1_000_000)]),
            device: device
        )
        let sizes = inbox.entries.compactMap { entry -> Int? in
            if case .resultChunk(_, let chunk) = entry.body { chunk.bytes.count } else { nil }
        }
        XCTAssertEqual(sizes, [262_144, 262_144, 262_144, 213_568])
        guard case .result(_, _, .completed, _)? = inbox.entries.last?.body else {
            return XCTFail("the result comes last")
        }
    }

    func test_largeResult_spoolFull_isRefusedAndSentAgain() async throws {
        let (house, device, receipt, offer) = try await scene()
        let faults = FaultScript()
        let exchange = DeviceExchange(
            reader: house.storage,
            inbox: FailingDeviceInbox(house.inbox, faults),
            settings: .init(clock: house.clock, random: house.random)
        )
        let full = OperationQueueError(.spoolFull, "full", retryAfter: .seconds(5))
        faults.failCall(2, of: .accept, with: full)
        let body = Pieces(pieces: [Array(repeating: 1, count: 700_000)])
        let head = LargeResultHead(execution: offer.execution)
        await assertThrows(.spoolFull) {
            try await exchange.accept(head, body: body, device: device)
        }
        _ = try await exchange.accept(head, body: body, device: device)
        let content = try await house.browser.largeResult(of: receipt.activity, on: device.device)
        XCTAssertEqual(content.result.bytes, 700_000)
    }

    func test_largeResult_moreThanTheNodeTakesAtOnce_isToldToComeAgain() async throws {
        let (house, device, _, offer) = try await scene()
        var settings = DeviceExchange.Settings(clock: house.clock, random: house.random)
        settings.limits.uploads = 0
        let exchange = DeviceExchange(
            reader: house.storage,
            inbox: house.inbox,
            settings: settings
        )
        await assertThrows(.tooManyUploads) {
            try await exchange.accept(
                LargeResultHead(execution: offer.execution),
                body: Pieces(pieces: []),
                device: device
            )
        }
    }

    func test_expiryTask_unfinishedUploadAfterADay_isForgotten() async throws {
        let cluster = InMemoryCluster()
        let device = try await cluster.enrol("d")
        let receipt = try await cluster.enqueuer.enqueue(
            EnqueueRequest("logs", to: .devices([device.device]))
        )
        let offer = try await cluster.exchange.exchange(device: device).operations[0]
        var broken = Pieces(pieces: [Array(repeating: 1, count: 300_000)])
        broken.breaksOff = true
        await assertThrows(.uploadInterrupted) { [broken] in
            try await cluster.exchange.accept(
                LargeResultHead(execution: offer.execution),
                body: broken,
                device: device
            )
        }
        cluster.time.advance(by: ExpiryTask.uploadLifetime + .seconds(1))
        let epoch = cluster.ledger.epoch
        try await cluster.expiry.tick(at: cluster.time.now())
        let left = try await cluster.operations.clearUploads(
            begunBefore: .distantFuture,
            limit: 10,
            epoch: epoch
        )
        XCTAssertEqual(left, 0)
        await assertThrows(.noLargeResult) {
            try await cluster.browser.largeResult(of: receipt.activity, on: device.device)
        }
    }

    func test_reader_chunkGoneOrDamaged_breaksOff() async throws {
        let cluster = InMemoryCluster()
        let device = try await cluster.enrol("d")
        let receipt = try await cluster.enqueuer.enqueue(
            EnqueueRequest("logs", to: .devices([device.device]))
        )
        let offer = try await cluster.exchange.exchange(device: device).operations[0]
        _ = try await cluster.exchange.accept(
            LargeResultHead(execution: offer.execution),
            body: Pieces(pieces: [Array(repeating: 1, count: 600_000)]),
            device: device
        )
        let content = try await cluster.browser.largeResult(
            of: receipt.activity,
            on: device.device
        )
        cluster.faults.failCall(2, of: .chunk)
        var read = 0
        await assertThrows(.storage) {
            for try await chunk in content.chunks { read += chunk.count }
        }
        XCTAssertEqual(read, 262_144)
    }
}
