#if Server
import Foundation
import HTTPHandling
import HTTPTypes
import XCTest

final class RepresentationTests: XCTestCase {
    private let bytes = Array("0123456789".utf8)

    private func answer(
        _ fields: HTTPFields,
        method: HTTPRequest.Method = .get,
        file: Bool = true,
        bytes: [UInt8]? = nil
    ) async throws -> HandlerResponse {
        let bytes = bytes ?? self.bytes
        let path = NSTemporaryDirectory() + "reeve-representation-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let content: Representation.Content = file ? .file(try OpenFile(path: path)) : .bytes(bytes)
        let representation = Representation(
            content,
            contentType: "text/plain",
            entityTag: "abc",
            cacheControl: "max-age=60"
        )
        var table = RouteTable()
        try table.get("/file", operationID: "file", access: .open) {
            try representation.response(to: $0)
        }
        return await table.answer(makeRequest(method, "/file", fields: fields))
    }

    func test_get_givesWholeFileWithValidator() async throws {
        for file in [true, false] {
            let response = try await answer([:], file: file)
            XCTAssertEqual(response.status, .ok)
            XCTAssertEqual(response.headerFields[.eTag], "\"abc\"")
            XCTAssertEqual(response.headerFields[.acceptRanges], "bytes")
            XCTAssertEqual(response.headerFields[.cacheControl], "max-age=60")
            XCTAssertEqual(response.body.length, 10)
            let body = try await response.bodyBytes()
            XCTAssertEqual(body, bytes)
        }
    }

    func test_range_givesItsBytes() async throws {
        for (range, expected, field) in [
            ("bytes=2-4", "234", "bytes 2-4/10"), ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"), ("bytes=8-99", "89", "bytes 8-9/10"),
            ("bytes=-99", "0123456789", "bytes 0-9/10"), ("Bytes=0-0", "0", "bytes 0-0/10"),
        ] {
            for file in [true, false] {
                let response = try await answer([.range: range], file: file)
                XCTAssertEqual(response.status, .partialContent, range)
                XCTAssertEqual(response.headerFields[.contentRange], field)
                let text = try await response.bodyText()
                XCTAssertEqual(text, expected, range)
            }
        }
    }

    func test_range_beyondTheEnd_is416NamingTheLength() async throws {
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            let response = try await answer([.range: range])
            XCTAssertEqual(response.status, .rangeNotSatisfiable, range)
            XCTAssertEqual(response.headerFields[.contentRange], "bytes */10")
            let problem = try await response.problem()
            XCTAssertEqual(problem.code, "http.unsatisfiable-range")
        }
        let empty = try await answer([.range: "bytes=0-"], bytes: [])
        XCTAssertEqual(empty.status, .rangeNotSatisfiable)
    }

    func test_range_notUnderstoodOrSeveral_givesTheWhole() async throws {
        for range in [
            "lines=1-2", "bytes=1-2,4-5", "bytes=5-2", "bytes=x-1", "bytes=", "bytes=-",
            "bytes=99999999999999999999-",
        ] {
            let response = try await answer([.range: range])
            XCTAssertEqual(response.status, .ok, range)
            let body = try await response.bodyBytes()
            XCTAssertEqual(body, bytes)
        }
    }

    func test_ifNoneMatch_naming_is304WithoutBody() async throws {
        for (field, status) in [
            ("\"abc\"", HTTPResponse.Status.notModified), ("W/\"abc\"", .notModified),
            ("\"x\", \"abc\"", .notModified), ("*", .notModified), ("\"x\"", .ok), ("abc", .ok),
        ] {
            let response = try await answer([.ifNoneMatch: field])
            XCTAssertEqual(response.status, status, field)
            XCTAssertEqual(response.headerFields[.eTag], "\"abc\"")
        }
    }

    func test_ifRange_otherVersion_givesTheWhole() async throws {
        let same = try await answer([.range: "bytes=2-4", .ifRange: "\"abc\""])
        XCTAssertEqual(same.status, .partialContent)
        let other = try await answer([.range: "bytes=2-4", .ifRange: "\"old\""])
        XCTAssertEqual(other.status, .ok)
    }

    func test_head_givesLengthAndIgnoresRange() async throws {
        let response = try await answer([.range: "bytes=2-4"], method: .head)
        XCTAssertEqual(response.status, .ok)
        XCTAssertEqual(response.headerFields[.contentLength], "10")
        let body = try await response.bodyBytes()
        XCTAssertEqual(body, [])
    }

    func test_file_missingOrDirectory_is404WithoutItsPath() async throws {
        for path in ["/nonexistent/file", NSTemporaryDirectory()] {
            let error = await assertThrowsCode(.noFile) { _ = try OpenFile(path: path) }
            XCTAssertFalse(error?.message.contains(path) == true)
        }
    }

    func test_file_cutShortWhileSent_throws() async throws {
        let path = NSTemporaryDirectory() + "reeve-cut-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(count: 100).write(to: URL(fileURLWithPath: path))
        let region = FileRegion(try OpenFile(path: path))
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.truncate(atOffset: 50)
        try handle.close()
        _ = await assertThrowsCode(.wrongLength) {
            for try await _ in region.chunks(of: 40) {}
        }
    }
}
#endif
