#if Server && SQLite
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import ClusterTransport
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTypes
import OperationQueue
import ServiceLifecycleTestKit
import XCTest

final class LinkEndpointTests: XCTestCase {
    private let binary = [UInt8](repeating: 0xAB, count: 64)

    private func hello(
        _ node: String = "worker-1",
        role: NodeRole = .worker,
        epoch: Int64 = 0
    ) -> LinkHello {
        LinkHello(
            node: NodeID(rawValue: node),
            role: role,
            applied: nil,
            highestEpoch: Epoch(rawValue: epoch)
        )
    }

    private func batch(
        _ entries: [SpooledEntry],
        history: HistoryID = HistoryID(bits: 7)
    ) -> SpoolBatch {
        SpoolBatch(incarnation: IncarnationID(bits: 3), history: history, entries: entries)
    }

    private func enrol(_ manager: ManagerScene, _ name: String) async throws -> DeviceRow {
        let receipt = try await manager.devices.commit(
            .enrol(
                EnrolmentRecord(
                    device: DeviceID(rawValue: name),
                    incarnation: IncarnationID(bits: 1),
                    credential: CredentialDigest(of: "t-\(name)")
                )
            ),
            tenant: .standard,
            epoch: manager.ledger.epoch,
            at: manager.time.now()
        )
        return try XCTUnwrap(receipt.row)
    }

    func test_routes_withoutTheirRight_areRefused() async throws {
        let manager = try ManagerScene()
        let fill = ["tenant": "default", "device": "d", "channel": "c", "object": "o"]
        XCTAssertEqual(manager.endpoint.routes.count, 18)
        for route in manager.endpoint.routes {
            let path = fill.reduce(route.path) { $0.replacing("{\($1.key)}", with: $1.value) }
            for (token, status) in [(nil, 401), ("nobody", 401), ("admin", 403)] as [(String?, Int)]
            {
                let answer = try await manager.answer(route.method, path, token: token)
                XCTAssertEqual(answer.status, status, "\(route)")
                XCTAssertEqual(answer.fields[.contentType], MediaType.problem)
            }
        }
    }

    func test_hello_ofAWorker_makesItAMember() async throws {
        let manager = try ManagerScene()
        let answer = try await manager.answer(json: hello(), to: "/hello")
        XCTAssertEqual(answer.status, 200)
        let welcome = try JSONDecoder().decode(LinkWelcome.self, from: Data(answer.body))
        XCTAssertEqual(welcome.epoch, manager.ledger.epoch)
        XCTAssertEqual(welcome.revision.history, HistoryID(bits: 7))
        let members = try await manager.members.members()
        XCTAssertEqual(members.map(\.node.rawValue), ["worker-1"])
    }

    func test_hello_thatMustBeRefused_isRefusedWithItsReason() async throws {
        let manager = try ManagerScene()
        let cases: [(LinkHello, Int, String)] = [
            (hello("worker-2"), 403, "link.wrong-node"),
            (hello(role: .manager), 403, "link.wrong-role"),
            (hello(epoch: 9), 409, "link.epoch-behind"),
        ]
        for (message, status, code) in cases {
            let answer = try await manager.answer(json: message, to: "/hello")
            XCTAssertEqual(answer.status, status)
            XCTAssertEqual(problemCode(answer.body), code)
        }
        var older = hello()
        older.format = 0
        older.oldestFormat = 0
        var stranger = hello()
        stranger.domain = "elsewhere/worker"
        stranger.codecs = ["runlength"]
        let refused: [(LinkHello, [String])] = [
            (older, ["formats"]), (stranger, ["cluster", "codecs", "plain", "elsewhere"]),
        ]
        for (message, named) in refused {
            let answer = try await manager.answer(json: message, to: "/hello")
            XCTAssertEqual(answer.status, 409)
            XCTAssertEqual(problemCode(answer.body), "link.incompatible")
            let text = String(decoding: answer.body, as: UTF8.self)
            for word in named { XCTAssertTrue(text.contains(word), "\(word) in \(text)") }
        }
        let members = try await manager.members.members()
        XCTAssertEqual(members, [])
    }

    func test_manager_thatIsNotTheCoordinator_writesNothing() async throws {
        let manager = try ManagerScene()
        manager.coordinator.isSet = false
        let row = try await enrol(manager, "d")
        let entry = SpooledEntry(
            number: 1,
            entry: InboxEntry(
                identity: row.identity,
                receivedAt: manager.time.now(),
                body: .contact(answeredAt: nil)
            )
        )
        let answers = [
            try await manager.answer(json: hello(), to: "/hello"),
            try await manager.answer(.post, "/spool", body: batch([entry]).encoded()),
            try await manager.answer(
                json: LinkEnrolment(
                    EnrolmentRequest(device: DeviceID(rawValue: "e"), token: "secret")
                ),
                to: "/enrolments"
            ),
        ]
        for answer in answers {
            XCTAssertEqual(answer.status, 503)
            XCTAssertEqual(problemCode(answer.body), "link.not-coordinator")
            XCTAssertNotNil(answer.fields[.retryAfter])
        }
    }

    func test_spool_sentTwice_isAppliedOnceAndAnswersTheSameMark() async throws {
        let manager = try ManagerScene()
        let row = try await enrol(manager, "d")
        let operation = try await manager.enqueue(.devices([row.id]))
        let entries = [
            SpooledEntry(
                number: 4,
                entry: InboxEntry(
                    identity: row.identity,
                    receivedAt: manager.time.now(),
                    body: .result(operation.id, attempt: nil, outcome: .completed, detail: [1])
                )
            )
        ]
        var marks: [Int64] = []
        for _ in 0..<2 {
            let answer = try await manager.answer(
                .post,
                "/spool",
                body: batch(entries).encoded()
            )
            XCTAssertEqual(answer.status, 200)
            marks.append(
                try JSONDecoder().decode(LinkMark.self, from: Data(answer.body)).mark
            )
        }
        XCTAssertEqual(marks, [4, 4])
        let completed = try await manager.completed(operation)
        XCTAssertEqual(completed, 1)
    }

    func test_spool_repeatedOverlappedAndLate_countsEachEntryOnce_byWorkerIncarnationAndNumber()
        async throws
    {
        let manager = try ManagerScene()
        let row = try await enrol(manager, "d")
        let operations = try await [
            manager.enqueue(.devices([row.id])), manager.enqueue(.devices([row.id])),
            manager.enqueue(.devices([row.id])),
        ]
        func entry(_ number: Int64, _ index: Int) -> SpooledEntry {
            SpooledEntry(
                number: number,
                entry: InboxEntry(
                    identity: row.identity,
                    receivedAt: manager.time.now(),
                    body: .result(
                        operations[index].id,
                        attempt: nil,
                        outcome: .completed,
                        detail: []
                    )
                )
            )
        }
        func send(
            _ entries: [SpooledEntry],
            incarnation: UInt128 = 3,
            by node: String = "worker-1"
        ) async throws -> Int64 {
            let answer = try await manager.answer(
                .post,
                "/spool",
                token: node,
                body: SpoolBatch(
                    incarnation: IncarnationID(bits: incarnation),
                    history: HistoryID(bits: 7),
                    entries: entries
                ).encoded()
            )
            XCTAssertEqual(answer.status, 200)
            return try JSONDecoder().decode(LinkMark.self, from: Data(answer.body)).mark
        }
        let marks = try await [
            send([entry(1, 0), entry(2, 1)]), send([entry(1, 0), entry(2, 1), entry(3, 2)]),
            // Late, after what came behind it; and the whole once more.
            send([entry(1, 0)]), send([entry(2, 1), entry(3, 2)]),
            // The same numbers of another worker, and of another life of the file, are other entries.
            send([entry(1, 0)], by: "worker-2"), send([entry(1, 0)], incarnation: 4),
            send([entry(1, 0)], incarnation: 4),
        ]
        XCTAssertEqual(marks, [2, 3, 3, 3, 1, 1, 1])
        for operation in operations {
            let completed = try await manager.completed(operation)
            XCTAssertEqual(completed, 1)
        }
    }

    func test_spool_thatIsNoBatch_isRefusedAndTheNextOneIsTaken() async throws {
        let manager = try ManagerScene(limits: LinkLimits(maximumSpoolEntries: 2))
        let row = try await enrol(manager, "d")
        func entry(_ number: Int64) -> SpooledEntry {
            SpooledEntry(
                number: number,
                entry: InboxEntry(
                    identity: row.identity,
                    receivedAt: manager.time.now(),
                    body: .contact(answeredAt: nil)
                )
            )
        }
        let good = batch([entry(1)]).encoded()
        let cases: [([UInt8], Int, String)] = [
            ([], 400, "link.malformed"),
            (binary, 400, "link.malformed"),
            (Array(good.dropLast()), 400, "link.malformed"),
            (good + [0], 400, "link.malformed"),
            ([9] + good.dropFirst(), 400, "link.malformed"),
            (batch([]).encoded(), 400, "link.malformed"),
            (batch([entry(2), entry(1)]).encoded(), 400, "link.malformed"),
            (batch([entry(1), entry(2), entry(3)]).encoded(), 413, "link.too-large"),
            (batch([entry(1)], history: HistoryID(bits: 1)).encoded(), 409, "link.history-changed"),
        ]
        for (body, status, code) in cases {
            let answer = try await manager.answer(.post, "/spool", body: body)
            XCTAssertEqual(answer.status, status, code)
            XCTAssertEqual(problemCode(answer.body), code)
        }
        // Every prefix and every flipped byte of a good batch: an answer, never the end of the process.
        for index in good.indices {
            var flipped = good
            flipped[index] ^= 0xFF
            _ = try await manager.answer(.post, "/spool", body: flipped)
            let cut = try await manager.answer(.post, "/spool", body: Array(good[..<index]))
            XCTAssertEqual(cut.status, 400)
        }
        let answer = try await manager.answer(.post, "/spool", body: good)
        XCTAssertEqual(answer.status, 200)
        let tooLarge = try await manager.answer(
            .post,
            "/spool",
            body: [UInt8](repeating: 1, count: (8 << 20) + 1)
        )
        XCTAssertEqual(tooLarge.status, 413)
    }

    func test_replica_withBadParameters_isRefused() async throws {
        let manager = try ManagerScene()
        for query in ["after=x", "limit=0", "limit=5001", "wait=-1", "wait=x", "after=1:2"] {
            let answer = try await manager.answer(.get, "/replica?\(query)")
            XCTAssertEqual(answer.status, 400, query)
        }
    }

    func test_replica_withNothingNew_answersWhenSomethingComes() async throws {
        let clock = ManualTimeSource()
        let manager = try ManagerScene(time: clock)
        let row = try await enrol(manager, "d")
        let now = manager.ledger.revision
        async let waiting = manager.answer(.get, "/replica?wait=20&after=\(now)")
        try await clock.waitForSleepers(1)
        let operation = try await manager.enqueue(.devices([row.id]))
        let answer = try await waiting
        let page = try ReplicaPage(decoding: answer.body)
        XCTAssertEqual(page.content, .delta)
        let numbers = page.rows.compactMap { row -> OperationID? in
            if case .activity(_, let activity) = row { activity.operation.id } else { nil }
        }
        XCTAssertEqual(numbers, [operation.id])
    }

    func test_replica_withNothingNew_answersEmptyWhenTheWaitIsOver() async throws {
        let clock = ManualTimeSource()
        let manager = try ManagerScene(time: clock)
        _ = try await enrol(manager, "d")
        let now = manager.ledger.revision
        async let waiting = manager.answer(.get, "/replica?wait=3600&after=\(now)")
        try await clock.waitForSleepers(1)
        // However long a caller is ready to wait, the endpoint waits no longer than its limit.
        clock.advance(by: .seconds(25))
        let answer = try await waiting
        let page = try ReplicaPage(decoding: answer.body)
        XCTAssertEqual(page.rows, [])
        XCTAssertEqual(page.revision, now)
    }

    func test_replica_withNothingNew_answersAtOnceWhenTheServerShutsDown() async throws {
        let clock = ManualTimeSource()
        let manager = try ManagerScene(time: clock)
        _ = try await enrol(manager, "d")
        let now = manager.ledger.revision
        let answer = try await testGracefulShutdown { shutdown in
            async let waiting = manager.answer(.get, "/replica?wait=25&after=\(now)")
            try await clock.waitForSleepers(1)
            shutdown.triggerGracefulShutdown()
            // Nobody moves the clock: without the shutdown this would wait for ever.
            return try await waiting
        }
        XCTAssertEqual(try ReplicaPage(decoding: answer.body).revision, now)
    }

    func test_credential_isAnsweredByDigestOnly() async throws {
        let manager = try ManagerScene()
        let row = try await enrol(manager, "d")
        let known = try await manager.answer(
            json: LinkCredentialQuery(CredentialDigest(of: "t-d")),
            to: "/credentials"
        )
        XCTAssertEqual(known.status, 200)
        let answer = try JSONDecoder().decode(LinkDeviceRow.self, from: Data(known.body))
        XCTAssertEqual(try answer.row(), row)
        let unknown = try await manager.answer(
            json: LinkCredentialQuery(CredentialDigest(of: "other")),
            to: "/credentials"
        )
        XCTAssertEqual(unknown.status, 404)
        var bad = LinkCredentialQuery(CredentialDigest(of: "x"))
        bad.digest = "xyz"
        let malformed = try await manager.answer(json: bad, to: "/credentials")
        XCTAssertEqual(malformed.status, 400)
    }

    func test_bundle_isServedFromWhereTheRangeBegins() async throws {
        let manager = try ManagerScene()
        let bytes = (0..<1_000).map { UInt8(truncatingIfNeeded: $0) }
        let object = try await manager.objects.put(ByteChunks([bytes]))
        let path = "/bundles/\(object.digest)"
        let whole = try await manager.answer(.get, path)
        XCTAssertEqual(whole.status, 200)
        XCTAssertEqual(whole.body, bytes)
        let rest = try await manager.answer(.get, path, fields: [.range: "bytes=990-"])
        XCTAssertEqual(rest.status, 206)
        XCTAssertEqual(rest.body, Array(bytes[990...]))
        XCTAssertEqual(rest.fields[.contentRange], "bytes 990-999/1000")
        let beyond = try await manager.answer(.get, path, fields: [.range: "bytes=1000-"])
        XCTAssertEqual(beyond.status, 416)
        let missing = try await manager.answer(
            .get,
            "/bundles/\(String(repeating: "0", count: 64))"
        )
        XCTAssertEqual(missing.status, 404)
        let bad = try await manager.answer(.get, "/bundles/nothing")
        XCTAssertEqual(bad.status, 400)
    }

    func test_json_thatIsBad_isRefused() async throws {
        let manager = try ManagerScene()
        let deep = Array(String(repeating: "[", count: 10_000).utf8)
        for path in ["/hello", "/heartbeat", "/credentials", "/enrolments", "/acknowledgements"] {
            for body in [Array("{".utf8), Array("{}".utf8), Array("[1]".utf8), deep, binary] {
                let answer = try await manager.answer(
                    .post,
                    path,
                    body: body,
                    contentType: "application/json"
                )
                XCTAssertEqual(answer.status, 400, path)
            }
            let large = try await manager.answer(
                .post,
                path,
                body: [UInt8](repeating: 32, count: 10 << 20),
                contentType: "application/json"
            )
            XCTAssertEqual(large.status, 413, path)
        }
    }
}
#endif
