public import ClusterRole
public import DeviceRegistry

/// A large result and its bytes.
public struct LargeResultContent: Sendable {
    public var result: LargeResult
    /// The bytes in order, a chunk at a time; it can be walked more than once.
    public var chunks: LargeResultChunks
}

/// The bytes of a large result, read from the store as they are asked for.
///
/// Iterating throws ``OperationQueueError`` with code `noLargeResult` if the result is purged meanwhile,
/// and with code `storage` if it cannot be read: a damaged chunk is reported, never returned.
public struct LargeResultChunks: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = any Error

    let reader: any LargeResultReader
    let result: LargeResult
    let tenant: TenantID

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(chunks: self) }

    /// Walks the chunks.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let chunks: LargeResultChunks
        private var index: Int32 = 0

        fileprivate init(chunks: LargeResultChunks) { self.chunks = chunks }

        public mutating func next() async throws -> [UInt8]? {
            guard index < chunks.result.chunks else { return nil }
            let (reader, result, tenant) = (chunks.reader, chunks.result, chunks.tenant)
            let place = index
            index += 1
            let bytes = try await queueCall {
                try await reader.chunk(place, of: result, tenant: tenant)
            }
            guard let bytes else {
                throw OperationQueueError.noLargeResult(result.execution.device)
            }
            return bytes
        }
    }
}

/// One task walks the chunks.
@available(*, unavailable)
extension LargeResultChunks.AsyncIterator: Sendable {}

extension OperationQueueError {
    static func noLargeResult(_ device: DeviceID) -> OperationQueueError {
        OperationQueueError(
            .noLargeResult,
            "The device \(device) has sent no large result for this activity, or not all of it yet."
        )
    }
}

extension ActivityBrowser {
    /// The large result of an activity on a device, to be read in chunks.
    ///
    /// - Throws: ``OperationQueueError`` with code `noLargeResult`.
    public func largeResult(
        of activity: ActivityID,
        on device: DeviceID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> LargeResultContent {
        let found = try await queueCall {
            try await self.reader.largeResult(of: activity, on: device, tenant: tenant)
        }
        guard let found else { throw OperationQueueError.noLargeResult(device) }
        return LargeResultContent(
            result: found,
            chunks: LargeResultChunks(reader: reader, result: found, tenant: tenant)
        )
    }
}
