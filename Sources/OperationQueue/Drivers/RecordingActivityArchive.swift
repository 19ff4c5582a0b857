public import DeviceRegistry
internal import Synchronization

/// An archive that keeps everything in memory: for tests.
public final class RecordingActivityArchive: ActivityArchive {
    /// One archived activity.
    public struct Record: Hashable, Sendable {
        public var activity: Activity
        public var executions: [Execution]
    }

    private let state = Mutex<(records: [Record], failure: (any Error)?)>(([], nil))

    public init() {}

    /// What was archived, in order.
    public var records: [Record] { state.withLock { $0.records } }

    /// Fails every call from now on; `nil` ends that.
    public func fail(with error: (any Error)?) { state.withLock { $0.failure = error } }

    public func archive(
        _ activity: Activity,
        executions: @escaping @Sendable (_ after: DeviceID?) async throws -> ExecutionPage
    ) async throws {
        if let failure = state.withLock({ $0.failure }) { throw failure }
        var found: [Execution] = []
        var page = try await executions(nil)
        found += page.executions
        while let next = page.next {
            page = try await executions(next)
            found += page.executions
        }
        let record = Record(activity: activity, executions: found)
        state.withLock { $0.records.append(record) }
    }
}
