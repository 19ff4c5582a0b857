public import ClusterRole
public import DeviceRegistry
internal import Synchronization

/// Whom a change may concern: devices whose open work may be another afterwards.
public enum WorkConcern: Hashable, Sendable {
    case nobody
    /// These and no others.
    case devices([ConcernedDevice])
    /// Whoever it is, it is cheaper to let each look than to find out.
    case everybody

    /// Both.
    public func joined(with other: WorkConcern) -> WorkConcern {
        switch (self, other) {
        case (.everybody, _), (_, .everybody): .everybody
        case (.nobody, let one), (let one, .nobody): one
        case (.devices(let some), .devices(let others)): .devices(some + others)
        }
    }
}

/// A device, as a ``WorkConcern`` names it.
public struct ConcernedDevice: Hashable, Sendable {
    public var tenant: TenantID
    public var device: DeviceID

    public init(tenant: TenantID, device: DeviceID) {
        self.tenant = tenant
        self.device = device
    }
}

/// Says that open work may have changed, so that a device that waits need not poll.
///
/// Given by what answers devices: a worker's replica, or a store in its own process. A signal comes
/// **after** reads show the change; it may come without one, and may name more devices than changed.
/// It is never left out.
public protocol WorkSignals: Sendable {
    /// Calls `observer` from now on, on whatever task made the change, outside of all locks. It must
    /// return at once. It is kept as long as the giver lives: capture weakly what shall end earlier.
    func observeWork(_ observer: @escaping @Sendable (WorkConcern) -> Void)
}

/// Passes signals on to observers: what a driver conforms to ``WorkSignals`` with.
public final class WorkSignalHub: WorkSignals {
    private let observers = Mutex<[@Sendable (WorkConcern) -> Void]>([])

    public init() {}

    public func observeWork(_ observer: @escaping @Sendable (WorkConcern) -> Void) {
        observers.withLock { $0.append(observer) }
    }

    /// Tells every observer. Call it once reads show the change.
    public func send(_ concern: WorkConcern) {
        if concern == .nobody { return }
        for observer in observers.withLock({ $0 }) { observer(concern) }
    }
}

extension WorkConcern {
    /// What changed keys mean for devices.
    ///
    /// - Parameter targets: the named devices of an activity by its number; `nil` for one that
    ///   addresses a group, or where they are not known.
    package init(
        _ keys: some Sequence<ChangeKey>,
        targets: (TenantID, Int64) throws -> [ConcernedDevice]?
    ) rethrows {
        var concern = WorkConcern.nobody
        for key in keys where concern != .everybody {
            concern = concern.joined(with: try WorkConcern(key, targets: targets))
        }
        self = concern
    }

    private init(
        _ key: ChangeKey,
        targets: (TenantID, Int64) throws -> [ConcernedDevice]?
    ) rethrows {
        switch key {
        case .device(let tenant, let id), .membership(let tenant, _, let id),
            .execution(let tenant, _, let id):
            self = .devices([ConcernedDevice(tenant: tenant, device: DeviceID(rawValue: id))])
        case .activity(let tenant, let number):
            self = try targets(tenant, number).map { .devices($0) } ?? .everybody
        case .channel, .spoolMark, .member, .sharedState, .group:
            self = .nobody
        }
    }
}
