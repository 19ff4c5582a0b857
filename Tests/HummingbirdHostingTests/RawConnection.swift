#if Server
import Foundation
import HummingbirdHosting
import Synchronization
import XCTest

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// A TCP connection that sends just the bytes it is told to: what an HTTP client would hide is the
/// point here. Reads give up after 60 seconds, so that a broken server fails a test and not the
/// run.
final class RawConnection: Sendable {
    struct Refused: Error {}
    struct Broken: Error {}

    struct Answer: Sendable {
        let status: Int
        let fields: [String: String]
        var body: [UInt8] = []

        var text: String { String(decoding: body, as: UTF8.self) }
    }

    private let descriptor: Int32
    private let unread = Mutex<[UInt8]>([])

    /// - Parameter receiveBuffer: how much the kernel keeps unread, in bytes; its own choice if
    ///   `nil`.
    init(to address: ServerAddress, receiveBuffer: Int32? = nil) throws {
        #if canImport(Glibc)
        let stream = Int32(SOCK_STREAM.rawValue)
        #else
        let stream = SOCK_STREAM
        #endif
        descriptor = socket(AF_INET, stream, 0)
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_RCVTIMEO,
            &limit,
            socklen_t(MemoryLayout<timeval>.size)
        )
        if var size = receiveBuffer {
            setsockopt(
                descriptor,
                SOL_SOCKET,
                SO_RCVBUF,
                &size,
                socklen_t(MemoryLayout<Int32>.size)
            )
        }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = UInt16(address.port).bigEndian
        name.sin_addr.s_addr = inet_addr(address.host)
        let result = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            throw Refused()
        }
    }

    deinit { close(descriptor) }

    /// Runs a blocking call where it blocks nobody else.
    private func blocking<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Result { try body() }) }
        }
    }

    func send(_ text: String) async throws { try await send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) async throws {
        try await blocking { [descriptor] in
            var sent = 0
            while sent < bytes.count {
                let result = bytes[sent...].withUnsafeBytes {
                    #if canImport(Glibc)
                    Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                    #else
                    Darwin.send(descriptor, $0.baseAddress, $0.count, 0)
                    #endif
                }
                guard result > 0 else { throw Broken() }
                sent += result
            }
        }
    }

    /// What has come, at most 64 KiB; empty at the end of the stream.
    func receive() async throws -> [UInt8] {
        let kept = unread.withLock { unread in
            defer { unread = [] }
            return unread
        }
        guard kept.isEmpty else { return kept }
        return try await blocking { [descriptor] in
            var buffer = [UInt8](repeating: 0, count: 64 << 10)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count >= 0 else { throw Broken() }
            return Array(buffer[..<count])
        }
    }

    /// Reads a status line and header fields.
    func receiveHead() async throws -> Answer {
        var bytes: [UInt8] = []
        let end = Array("\r\n\r\n".utf8)
        while true {
            if let range = bytes.firstRange(of: end) {
                unread.withLock { $0 = Array(bytes[range.upperBound...]) }
                return try Self.parse(bytes[..<range.lowerBound])
            }
            let more = try await receive()
            guard !more.isEmpty else { throw Broken() }
            bytes += more
        }
    }

    private static func parse(_ head: ArraySlice<UInt8>) throws -> Answer {
        let lines = String(decoding: head, as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ")
        guard words.count >= 2, let status = Int(words[1]) else { throw Broken() }
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { throw Broken() }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            fields[line[..<colon].lowercased()] = String(value)
        }
        return Answer(status: status, fields: fields)
    }

    private func receive(exactly count: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try await receive()
            guard !more.isEmpty else { throw Broken() }
            bytes += more
        }
        unread.withLock { $0 = Array(bytes[count...]) }
        return Array(bytes[..<count])
    }

    private func receiveLine() async throws -> String {
        var line: [UInt8] = []
        while line.suffix(2) != [13, 10] { line += try await receive(exactly: 1) }
        return String(decoding: line.dropLast(2), as: UTF8.self)
    }

    /// Reads one whole answer; `isHead` says that it has no body whatever its fields say.
    func receiveAnswer(isHead: Bool = false) async throws -> Answer {
        var answer = try await receiveHead()
        if isHead || answer.status == 304 || answer.status == 204 { return answer }
        if answer.fields["transfer-encoding"] == "chunked" {
            while let size = Int(try await receiveLine(), radix: 16), size > 0 {
                answer.body += try await receive(exactly: size)
                _ = try await receive(exactly: 2)
            }
            _ = try await receiveLine()
        } else {
            let length = Int(answer.fields["content-length"] ?? "") ?? 0
            answer.body = try await receive(exactly: length)
        }
        return answer
    }

    /// Sends one request and reads its answer.
    func ask(
        _ method: String,
        _ path: String,
        fields: [String] = [],
        body: [UInt8]? = nil
    ) async throws -> Answer {
        var lines = ["\(method) \(path) HTTP/1.1", "Host: localhost"] + fields
        if let body { lines.append("Content-Length: \(body.count)") }
        try await send(Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + (body ?? []))
        return try await receiveAnswer(isHead: method == "HEAD")
    }
}
#endif
