#if Push
import Foundation
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The smallest HTTP server a test needs: on loopback, on any free port, a thread a connection.
final class LoopbackServer: Sendable {
    /// What it answers: bytes to write, or nothing at all.
    enum Answer: Sendable {
        case status(Int, headers: [String])
        /// Closes the connection without an answer.
        case hangUp
        /// Says nothing until the server stops.
        case silence
    }

    private struct State {
        var requests: [String] = []
        var answer = Answer.status(202, headers: [])
        var isStopped = false
    }

    let port: Int
    private let listener: Int32
    private let state = Mutex(State())

    init() throws {
        #if canImport(Darwin)
        listener = socket(AF_INET, SOCK_STREAM, 0)
        #else
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #endif
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(descriptor, generic, length) == 0
                    && getsockname(descriptor, generic, &length) == 0
            }
        }
        guard bound, listen(listener, 64) == 0 else {
            throw POSIXError(.EADDRNOTAVAIL)
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in accept() }
    }

    /// Request heads, in order of arrival.
    var requests: [String] { state.withLock { $0.requests } }

    func answer(with answer: Answer) { state.withLock { $0.answer = answer } }

    func url(_ path: String = "/wake/secret") -> String { "http://127.0.0.1:\(port)\(path)" }

    func stop() {
        let isFirst = state.withLock { state in
            defer { state.isStopped = true }
            return !state.isStopped
        }
        if isFirst {
            // The accepting thread closes it: a descriptor closed here could be another server's by the
            // time that thread accepts on it again.
            _ = shutdown(listener, Int32(SHUT_RDWR))
        }
    }

    private func accept() {
        defer { _ = close(listener) }
        while true {
            #if canImport(Glibc)
            let connection = Glibc.accept(listener, nil, nil)
            #elseif canImport(Musl)
            let connection = Musl.accept(listener, nil, nil)
            #else
            let connection = Darwin.accept(listener, nil, nil)
            #endif
            if connection < 0 { return }
            Thread.detachNewThread { [self] in serve(connection) }
        }
    }

    private func serve(_ connection: Int32) {
        defer { _ = close(connection) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while !String(decoding: bytes, as: UTF8.self).contains("\r\n\r\n") {
            let count = read(connection, &chunk, chunk.count)
            if count <= 0 { return }
            bytes += chunk[0..<count]
        }
        let answer = state.withLock { state in
            state.requests.append(String(decoding: bytes, as: UTF8.self))
            return state.answer
        }
        switch answer {
        case .status(let code, let headers):
            let head = ["HTTP/1.1 \(code) Answer", "Content-Length: 0", "Connection: close"]
            let text = (head + headers).joined(separator: "\r\n") + "\r\n\r\n"
            _ = Array(text.utf8).withUnsafeBytes { write(connection, $0.baseAddress, $0.count) }
        case .hangUp:
            return
        case .silence:
            // Returns when the client gives up and closes.
            _ = read(connection, &chunk, chunk.count)
        }
    }
}
#endif
