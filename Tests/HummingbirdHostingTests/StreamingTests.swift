#if Server
import ClusterRole
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import Synchronization
import XCTest

final class StreamingTests: XCTestCase {
    func test_stream_ofTwentyMegabytes_arrivesInOrder_withAndWithoutALength() async throws {
        let handler = ClosureHandler { request in
            let length: Int64? = request.target.path == "/known" ? 20 << 20 : nil
            return HandlerResponse(body: .stream(CountedChunks(count: 320), length: length))
        }
        try await withServer([HandlerMount("/", handler)]) { address, _ in
            let connection = try RawConnection(to: address)
            let expected = (0..<320).flatMap { CountedChunks.chunk($0) }
            let chunked = try await connection.ask("GET", "/")
            XCTAssertEqual(chunked.fields["transfer-encoding"], "chunked")
            XCTAssertTrue(chunked.body == expected)
            let known = try await connection.ask("GET", "/known")
            XCTAssertEqual(known.fields["content-length"], "\(20 << 20)")
            XCTAssertTrue(known.body == expected)
        }
    }

    func test_stream_slowReader_holdsUpTheHandler() async throws {
        let chunks = CountedChunks(count: 1_600)
        let handler = ClosureHandler { _ in
            HandlerResponse(body: .stream(chunks, length: 100 << 20))
        }
        try await withServer([HandlerMount("/", handler)]) { address, _ in
            let connection = try RawConnection(to: address, receiveBuffer: 64 << 10)
            try await connection.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try await connection.receiveHead()
            var received = 0
            var lead = 0
            while received < 100 << 20 {
                let more = try await connection.receive()
                guard !more.isEmpty else { return XCTFail("broken off at \(received)") }
                received += more.count
                lead = max(lead, chunks.made.value * (64 << 10) - received)
            }
            // What the kernel buffers for the sender (4 MiB here), and a little. Without a wait for
            // the event loop it is half of the stream.
            XCTAssertLessThan(lead, 16 << 20)
        }
    }

    func test_stream_ofAnotherLengthThanPromised_breaksTheConnectionOff() async throws {
        let handler = ClosureHandler { request in
            let length: Int64 = request.target.path == "/more" ? 100 : 1 << 20
            return HandlerResponse(body: .stream(CountedChunks(count: 2), length: length))
        }
        try await withServer([HandlerMount("/", handler)]) { address, _ in
            for path in ["/more", "/fewer"] {
                let connection = try RawConnection(to: address)
                do {
                    _ = try await connection.ask("GET", path)
                    XCTFail("a whole answer at \(path)")
                } catch is RawConnection.Broken {}
            }
        }
    }

    func test_stream_thatThrows_breaksTheConnectionOff_andOthersAreServed() async throws {
        struct Failing: AsyncSequence, Sendable {
            typealias Failure = any Error
            struct Iterator: AsyncIteratorProtocol {
                var isFirst = true
                mutating func next() async throws -> [UInt8]? {
                    guard isFirst else { throw CancellationError() }
                    isFirst = false
                    return [1, 2, 3]
                }
            }
            func makeAsyncIterator() -> Iterator { Iterator() }
        }
        let failing = ClosureHandler { _ in
            HandlerResponse(body: .stream(Failing(), length: nil))
        }
        try await withServer([HandlerMount("/f", failing), HandlerMount("/", HealthRoutes())]) {
            address,
            _ in
            do {
                _ = try await RawConnection(to: address).ask("GET", "/f")
                XCTFail("a whole answer")
            } catch is RawConnection.Broken {}
            let health = try await RawConnection(to: address).ask("GET", "/healthz")
            XCTAssertEqual(health.status, 200)
        }
    }

    func test_file_ofTwentyMegabytes_isServedWholeInPartsAndNotAgain() async throws {
        let path = NSTemporaryDirectory() + "reeve-hosting-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let content = (0..<320).flatMap { CountedChunks.chunk($0) }
        try Data(content).write(to: URL(fileURLWithPath: path))
        var table = RouteTable()
        try table.get("/bundle", operationID: "bundle", access: .open) {
            try Representation(file: path, entityTag: "v1").response(to: $0)
        }
        try await withServer([HandlerMount("/", table)]) { address, _ in
            let connection = try RawConnection(to: address)
            let head = try await connection.ask("HEAD", "/bundle")
            XCTAssertEqual(head.status, 200)
            XCTAssertEqual(head.fields["content-length"], "\(20 << 20)")
            let whole = try await connection.ask("GET", "/bundle")
            XCTAssertTrue(whole.body == content)
            let part = try await connection.ask(
                "GET",
                "/bundle",
                fields: ["Range: bytes=1000000-19999999"]
            )
            XCTAssertEqual(part.status, 206)
            XCTAssertTrue(part.body == Array(content[1_000_000...19_999_999]))
            let same = try await connection.ask(
                "GET",
                "/bundle",
                fields: ["If-None-Match: \"v1\""]
            )
            XCTAssertEqual(same.status, 304)
            let beyond = try await connection.ask(
                "GET",
                "/bundle",
                fields: ["Range: bytes=\(20 << 20)-"]
            )
            XCTAssertEqual(beyond.status, 416)
            let again = try await connection.ask("HEAD", "/bundle")
            XCTAssertEqual(again.status, 200)
        }
    }

    func test_reader_thatTakesNothing_isBrokenOffAfterTheTimeout() async throws {
        let time = SteppedTime()
        let gone = CountedChunks.Counter()
        let handler = ClosureHandler { _ in
            let chunks = CountedChunks(count: 1_600, token: CountedChunks.EndToken(gone))
            return HandlerResponse(body: .stream(chunks, length: 100 << 20))
        }
        try await withServer([HandlerMount("/", handler)], time: time) { address, _ in
            let connection = try RawConnection(to: address)
            try await connection.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try await connection.receiveHead()
            // Nothing is read while the watch looks, until it finds a stall and the answer is
            // dropped.
            let isGone = await time.step(until: { gone.value > 0 })
            XCTAssertTrue(isGone)
            var received = 0
            do {
                while case let more = try await connection.receive(), !more.isEmpty {
                    received += more.count
                }
            } catch is RawConnection.Broken {}
            XCTAssertLessThan(received, 100 << 20)
        }
    }
}

/// A clock that stands still; sleepers wake when they are told to.
private final class SteppedTime: TimeSource {
    private let sleepers = Mutex<[CheckedContinuation<Void, Never>]>([])

    func now() -> Timestamp { Timestamp(milliseconds: 0) }
    func monotonic() -> Duration { .zero }

    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        await withCheckedContinuation { continuation in
            sleepers.withLock { $0.append(continuation) }
        }
        try Task.checkCancellation()
    }

    /// Wakes sleepers, turn after turn of the scheduler, until `isDone`; `false` if it never is.
    func step(until isDone: () -> Bool) async -> Bool {
        for _ in 0..<50_000_000 {
            if isDone() { return true }
            let woken = sleepers.withLock { sleepers in
                defer { sleepers = [] }
                return sleepers
            }
            for sleeper in woken { sleeper.resume() }
            await Task.yield()
        }
        return false
    }
}
#endif
