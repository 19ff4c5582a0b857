import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

final class CodingTests: XCTestCase {
    private let identity = DeviceIdentity(
        tenant: .standard,
        device: DeviceID(rawValue: "device-1"),
        incarnation: IncarnationID(bits: .max - 5)
    )
    private let time = Timestamp(milliseconds: 1_700_000_000_123)

    private var entries: [InboxEntry] {
        let operation = OperationID(bits: 77)
        let attempt = AttemptID(bits: 78)
        let revision = Revision(history: HistoryID(bits: 3), number: 900)
        let push = PushRegistration(transport: "http", address: "http://x/y", registeredAt: time)
        let outcomes: [ResultOutcome] = [
            .completed, .failed, .notNow(until: time), .awaitingConfirmation, .confirmed,
            .cancelled,
        ]
        let bodies: [InboxEntry.Body] =
            [
                .contact(answeredAt: nil), .contact(answeredAt: revision), .registration(nil),
                .registration(push), .claim(operation, attempt: attempt, leaseEnd: time),
                .progress(operation, attempt: nil, detail: [1, 2], stepEnd: time),
                .information(.location, body: Array("{\"a\":1}".utf8)),
                .resultChunk(
                    operation,
                    chunk: ResultChunk(upload: UploadID(bits: 5), index: 0, bytes: [1, 2, 3])
                ),
                .resultChunk(
                    operation,
                    chunk: ResultChunk(
                        upload: UploadID(bits: 5),
                        index: 7,
                        bytes: [],
                        digest: Array(repeating: 8, count: 32)
                    )
                ),
            ]
            + outcomes.map { .result(operation, attempt: attempt, outcome: $0, detail: [9]) }
        return bodies.map { InboxEntry(identity: identity, receivedAt: time, body: $0) }
    }

    private var rows: [ReplicaRow] {
        let row = DeviceRow(
            tenant: .standard,
            id: identity.device,
            incarnation: identity.incarnation,
            state: .enrolled,
            credential: CredentialDigest(of: "secret"),
            pollingFrequency: .milliseconds(1_500)
        )
        let operation = DeviceOperation(
            id: OperationID(bits: 1),
            activity: ActivityID(bits: 2),
            number: 42,
            code: OperationCode(rawValue: "install"),
            type: .profile,
            payload: Array(0...255),
            priority: -7,
            order: .strict,
            expiresAt: time,
            deliveryLease: .seconds(5),
            createdAt: time
        )
        let execution = Execution(
            id: ExecutionID(
                operation: operation.id,
                incarnation: identity.incarnation,
                device: identity.device
            ),
            state: .deferred,
            version: 3,
            attempt: AttemptID(bits: 4),
            until: time,
            redeliveries: 2,
            updatedAt: time,
            detail: [5],
            lateAnswer: [6]
        )
        return [
            .device(row),
            .membership(
                .standard,
                Membership(
                    group: .everyone,
                    device: identity.device,
                    incarnation: identity.incarnation,
                    joined: 3,
                    left: 9
                )
            ),
            .activity(
                .standard,
                ReplicaActivity(operation: operation, group: .everyone, state: .cancelled)
            ),
            .target(
                .standard,
                number: 42,
                device: identity.device,
                incarnation: identity.incarnation
            ),
            .execution(.standard, number: 42, execution),
            .activityGone(.standard, number: 42),
            .group(.standard, .everyone, pollingFrequency: .seconds(30)),
            .group(.standard, .everyone, pollingFrequency: nil),
            .mark(
                SpoolMark(
                    node: NodeID(rawValue: "w1"),
                    incarnation: IncarnationID(bits: 9),
                    number: 8
                )
            ),
        ]
    }

    private var page: ReplicaPage {
        ReplicaPage(
            content: .snapshotContinues,
            rows: rows,
            revision: Revision(history: HistoryID(bits: 3), number: 900),
            next: ReplicaCursor(token: "1.2.3"),
            epoch: Epoch(rawValue: 4)
        )
    }

    func test_codecs_everyCase_comesBackAsItWas() throws {
        for entry in entries {
            XCTAssertEqual(try InboxEntry(decoding: entry.encoded()), entry)
        }
        for row in rows { XCTAssertEqual(try ReplicaRow(decoding: row.encoded()), row) }
        XCTAssertEqual(try ReplicaPage(decoding: page.encoded()), page)
    }

    func test_codecs_cutShort_throw() {
        for bytes in entries.map({ $0.encoded() }) {
            for length in 0..<bytes.count {
                XCTAssertThrowsError(try InboxEntry(decoding: Array(bytes[..<length])))
            }
            XCTAssertThrowsError(try InboxEntry(decoding: bytes + [0]))
        }
        let bytes = page.encoded()
        for length in 0..<bytes.count {
            XCTAssertThrowsError(try ReplicaPage(decoding: Array(bytes[..<length])))
        }
    }

    func test_codecs_bytesFlippedAtRandom_neverStopTheProcess() {
        let random = SeededRandom(11)
        let samples = entries.map { $0.encoded() } + rows.map { $0.encoded() } + [page.encoded()]
        for _ in 0..<20_000 {
            var bytes = random.pick(samples)
            for _ in 0...random.number(below: 3) {
                let place = Int(random.number(below: UInt64(bytes.count)))
                bytes[place] = UInt8(truncatingIfNeeded: random.next())
            }
            if let entry = try? InboxEntry(decoding: bytes) {
                XCTAssertEqual(try InboxEntry(decoding: entry.encoded()), entry)
            }
            _ = try? ReplicaRow(decoding: bytes)
            if let page = try? ReplicaPage(decoding: bytes) {
                var image = ReplicaImage()
                image.apply(page)
            }
        }
    }
}
