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
            .cancelled, .failedBecause("net.timeout"),
        ]
        let bodies: [InboxEntry.Body] =
            [
                .contact(answeredAt: nil), .contact(answeredAt: revision), .registration(nil),
                .registration(push), .claim(operation, attempt: attempt, leaseEnd: time),
                .progress(operation, attempt: nil, detail: [1, 2], stepEnd: time),
                .superseded(operation),
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

    private var terms: OperationTerms {
        var terms = OperationTerms()
        terms.scope = .joinersOnly
        terms.notBefore = time
        terms.timeouts = ExecutionTimeouts(whole: .seconds(9), step: .seconds(8))
        terms.retry = RetryPolicy(count: 4, matching: .errors(["net.*", "busy"]))
        terms.after = [
            OperationDependency(ActivityID(bits: 5)),
            OperationDependency(ActivityID(bits: 6), onFailure: .pause),
        ]
        terms.control = .supersede("wifi")
        terms.confirmation = .required
        terms.approval = .required
        terms.rollout = RolloutPlan(
            .waves([RolloutWave(share: 100, successPercent: 90, soak: .seconds(60))]),
            failure: RolloutFailureThreshold(percent: 5, minimum: 3, action: .abort)
        )
        terms.wake = .none
        return terms
    }

    func test_terms_standard_takeNoBytes_andOthersComeBack() throws {
        XCTAssertEqual(OperationTerms.standard.encoded, [])
        XCTAssertEqual(try OperationTerms(encoded: terms.encoded), terms)
        var rate = terms
        rate.rollout = RolloutPlan(.rate(devicesPerMinute: 7))
        rate.control = .noRepeat
        XCTAssertEqual(try OperationTerms(encoded: rate.encoded), rate)
        for length in 1..<terms.encoded.count {
            XCTAssertThrowsError(try OperationTerms(encoded: Array(terms.encoded[..<length])))
        }
    }

    /// A row as an earlier build stored it: `01 05` and so on, without terms and without retries.
    func test_replicaRow_ofTheFirstFormat_isStillRead() throws {
        let first = Self.firstFormatRow
        guard case .execution(_, let number, let row) = try ReplicaRow(decoding: first) else {
            return XCTFail("another row")
        }
        XCTAssertEqual(number, 42)
        XCTAssertEqual(row.state, .deferred)
        XCTAssertEqual(row.redeliveries, 2)
        XCTAssertEqual(row.retries, 0)
        XCTAssertEqual(row.detail, [5])
    }

    private static var firstFormatRow: [UInt8] {
        var writer = ByteWriter(capacity: 128)
        writer.write(1 as UInt8)
        writer.write(5 as UInt8)
        writer.write("standard")
        writer.write(42 as Int64)
        writer.write(UInt128(1))
        writer.write(UInt128(2))
        writer.write("device-1")
        writer.write(ExecutionState.deferred.rawValue)
        writer.write(3 as Int64)
        writer.write(false)
        writer.write(false)
        writer.write(2 as Int64)
        writer.write(1_700_000_000_123 as Int64)
        writer.write([5] as [UInt8])
        writer.write(false)
        return writer.bytes
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
            createdAt: time,
            terms: terms
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
            retries: 3,
            deferrals: 4,
            startedAt: time,
            confirmedAt: time,
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
                ReplicaActivity(
                    operation: operation,
                    group: .everyone,
                    state: .cancelled,
                    gate: OfferGate(hold: .paused, ceiling: 77)
                )
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

    func test_transitions_encodedAndDecoded_areTheSame() throws {
        func transition(
            _ number: Int64,
            _ change: OperationEvent.Change
        ) -> OperationTransition {
            OperationTransition(
                tenant: number == 1 ? .standard : "other",
                activity: ActivityID(bits: UInt128(number) << 90),
                number: number,
                code: "lock",
                at: time - .seconds(number),
                change: change
            )
        }
        let device = identity.device
        let transitions = [
            transition(1, .activity(from: nil, to: .open)),
            transition(2, .execution(device: device, from: nil, to: .delivered, version: 1)),
            transition(
                1,
                .execution(device: device, from: .delivered, to: .superseded, version: .max)
            ),
            transition(2, .activity(from: .open, to: .superseded)),
        ]
        let note = TransitionCoding.encode(transitions, at: time)
        XCTAssertEqual(try TransitionCoding.decode(note), transitions)
        XCTAssertEqual(try TransitionCoding.time(of: note), time)
        for length in 0..<note.bytes.count {
            let cut = ChangeNote(bytes: Array(note.bytes[..<length]))
            XCTAssertThrowsError(try TransitionCoding.decode(cut), "cut to \(length) bytes")
        }
    }

    func test_oneAnswer_takesFewBytesInTheLog() {
        let transition = OperationTransition(
            tenant: .standard,
            activity: ActivityID(bits: .max),
            number: 4_000_000,
            code: "lock",
            at: time,
            change: .execution(device: identity.device, from: nil, to: .completed, version: 1)
        )
        let note = TransitionCoding.encode([transition], at: time)
        XCTAssertLessThanOrEqual(note.bytes.count, 64)
    }
}
