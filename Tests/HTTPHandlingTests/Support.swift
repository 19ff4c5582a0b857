#if Server
import ClusterRole
import Foundation
import HTTPHandling
import HTTPTypes
import Logging
import Synchronization
import XCTest

/// Keeps every line written to the loggers made from it.
final class RecordingLog: Sendable {
    struct Line: Sendable {
        let level: Logger.Level
        let text: String
    }

    private let recorded = Mutex<[Line]>([])
    var lines: [Line] { recorded.withLock { $0 } }

    var logger: Logger {
        Logger(label: "test") { _ in Handler(log: self) }
    }

    private struct Handler: LogHandler {
        let log: RecordingLog
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
            let text = "\(event.message) \(all)"
            log.recorded.withLock { $0.append(Line(level: event.level, text: text)) }
        }
    }
}

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

func makeRequest(
    _ method: HTTPRequest.Method = .get,
    _ path: String,
    fields: HTTPFields = [:],
    body: HandlerBody = HandlerBody(),
    identity: Identity? = nil,
    logger: Logger = quiet
) -> HandlerRequest {
    HandlerRequest(
        head: HTTPRequest(
            method: method,
            scheme: "http",
            authority: "localhost",
            path: path,
            headerFields: fields
        ),
        body: body,
        identity: identity,
        logger: logger
    )
}

func makeJSONRequest(
    _ path: String,
    _ json: String,
    method: HTTPRequest.Method = .post
) -> HandlerRequest {
    makeRequest(
        method,
        path,
        fields: [.contentType: "application/json"],
        body: HandlerBody(Array(json.utf8))
    )
}

extension HandlerResponse {
    /// The whole body.
    func bodyBytes() async throws -> [UInt8] {
        switch body {
        case .none: return []
        case .bytes(let bytes): return bytes
        case .stream(let chunks, _): return try await HandlerBody(chunks).collect(upTo: .max)
        case .file(let region):
            return try await HandlerBody(region.chunks(of: 7)).collect(upTo: .max)
        }
    }

    func bodyText() async throws -> String {
        String(decoding: try await bodyBytes(), as: UTF8.self)
    }

    func problem() async throws -> ProblemDetails {
        try JSONDecoder().decode(ProblemDetails.self, from: Data(try await bodyBytes()))
    }
}

/// Chunks from a list, counting how many were asked for.
struct ListedChunks: AsyncSequence, Sendable {
    typealias Failure = any Error
    let chunks: [[UInt8]]
    let taken = Counted()

    final class Counted: Sendable {
        private let number = Atomic<Int>(0)
        var value: Int { number.load(ordering: .relaxed) }
        func increment() { number.add(1, ordering: .relaxed) }
    }

    func makeAsyncIterator() -> Iterator { Iterator(rest: chunks[...], taken: taken) }

    struct Iterator: AsyncIteratorProtocol {
        var rest: ArraySlice<[UInt8]>
        let taken: Counted

        mutating func next() async throws -> [UInt8]? {
            guard let first = rest.popFirst() else { return nil }
            taken.increment()
            return first
        }
    }
}

func assertThrowsCode(
    _ code: HTTPHandlingError.Code,
    file: StaticString = #filePath,
    line: UInt = #line,
    _ body: () async throws -> Void
) async -> HTTPHandlingError? {
    do {
        try await body()
        XCTFail("nothing was thrown", file: file, line: line)
    } catch let error as HTTPHandlingError {
        XCTAssertEqual(error.code, code, file: file, line: line)
        return error
    } catch {
        XCTFail("\(error)", file: file, line: line)
    }
    return nil
}
#endif
