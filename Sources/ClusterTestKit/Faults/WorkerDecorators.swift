public import ClusterRole
public import DeviceRegistry
public import NotificationDispatch
public import OperationQueue
internal import Synchronization

/// A `PendingWorkReader` whose calls fail as a ``FaultScript`` says.
public struct FailingPendingWorkReader: PendingWorkReader {
    private let base: any PendingWorkReader
    private let script: FaultScript

    public init(_ base: any PendingWorkReader, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        try await script.around(.openWork) {
            try await base.openWork(for: device, tenant: tenant)
        }
    }
}

/// A `DeviceInbox` whose calls fail as a ``FaultScript`` says.
public struct FailingDeviceInbox: DeviceInbox {
    private let base: any DeviceInbox
    private let script: FaultScript

    public init(_ base: any DeviceInbox, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func accept(_ entries: [InboxEntry]) async throws {
        try await script.around(.accept) { try await base.accept(entries) }
    }
}

/// A `DeviceInbox` that counts what it hands on.
public final class CountingDeviceInbox: DeviceInbox {
    private let base: any DeviceInbox
    private let counts = Mutex((calls: 0, entries: 0))

    public init(_ base: any DeviceInbox) { self.base = base }

    /// Calls that were accepted.
    public var callCount: Int { counts.withLock { $0.calls } }
    /// Entries that were accepted.
    public var entryCount: Int { counts.withLock { $0.entries } }

    public func accept(_ entries: [InboxEntry]) async throws {
        try await base.accept(entries)
        counts.withLock {
            $0.calls += 1
            $0.entries += entries.count
        }
    }
}

/// A `DeviceInbox` that remembers what it accepted, in order, and hands it on if there is something
/// beneath it.
public final class RecordingDeviceInbox: DeviceInbox {
    private let base: (any DeviceInbox)?
    private let recorded = Mutex<[InboxEntry]>([])

    /// - Parameter base: where accepted entries go; `nil` for nowhere.
    public init(_ base: (any DeviceInbox)? = nil) { self.base = base }

    /// Everything accepted and not popped.
    public var entries: [InboxEntry] { recorded.withLock { $0 } }

    /// Takes what was accepted since the last pop.
    public func popEntries() -> [InboxEntry] {
        recorded.withLock { entries in
            defer { entries = [] }
            return entries
        }
    }

    public func accept(_ entries: [InboxEntry]) async throws {
        try await base?.accept(entries)
        recorded.withLock { $0 += entries }
    }
}

/// A `PushTransport` that fails as a ``FaultScript`` says (method ``DriverMethod/wake``).
///
/// A transport throws nothing: a failed call answers with an outcome and sends nothing; one that crashes
/// after commit is sent, and answers `unknown`.
public struct FailingPushTransport: PushTransport {
    private let base: any PushTransport
    private let script: FaultScript
    private let outcome: PushOutcome

    /// - Parameters:
    ///   - base: sends the wake-ups that do not fail.
    ///   - script: says which fail.
    ///   - outcome: what a failed call answers.
    public init(
        _ base: any PushTransport,
        _ script: FaultScript,
        answering outcome: PushOutcome = .retry(
            after: nil,
            scope: .device,
            reason: "injected fault"
        )
    ) {
        self.base = base
        self.script = script
        self.outcome = outcome
    }

    public func wake(_ request: PushRequest) async -> PushOutcome {
        do {
            return try await script.around(.wake) { await base.wake(request) }
        } catch let fault as InjectedFault where fault.isAfterCommit {
            return .unknown(reason: fault.message)
        } catch {
            return outcome
        }
    }
}

/// A `PushTransport` that counts the answers it passes on.
public final class CountingPushTransport: PushTransport {
    private let base: any PushTransport
    private let counts = Mutex((attempts: 0, accepted: 0))

    public init(_ base: any PushTransport) { self.base = base }

    /// Wake-ups asked for.
    public var attemptCount: Int { counts.withLock { $0.attempts } }
    /// Wake-ups the transport beneath accepted.
    public var acceptedCount: Int { counts.withLock { $0.accepted } }

    public func wake(_ request: PushRequest) async -> PushOutcome {
        counts.withLock { $0.attempts += 1 }
        let outcome = await base.wake(request)
        if outcome == .accepted { counts.withLock { $0.accepted += 1 } }
        return outcome
    }
}
