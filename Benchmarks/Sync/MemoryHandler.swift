import HTTPHandling
import Synchronization

/// Answers every request with the same bytes, which it holds in memory: what the server itself can do.
final class MemoryHandler: HTTPHandler, Sendable {
    private let bytes = Mutex<[UInt8]>([])

    func hold(_ new: [UInt8]) { bytes.withLock { $0 = new } }

    func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        .bytes(bytes.withLock { $0 }, contentType: "application/octet-stream", headerFields: [:])
    }
}
