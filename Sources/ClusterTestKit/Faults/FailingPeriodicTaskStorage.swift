public import ClusterRole
public import DeviceRegistry
public import OperationQueue

/// A `PeriodicTaskStorage` whose calls fail as a ``FaultScript`` says.
public struct FailingPeriodicTaskStorage: PeriodicTaskStorage {
    private let base: any PeriodicTaskStorage
    private let script: FaultScript

    public init(_ base: any PeriodicTaskStorage, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func put(_ task: PeriodicTask, tenant: TenantID, epoch: Epoch) async throws {
        try await script.around(.putTask) {
            try await base.put(task, tenant: tenant, epoch: epoch)
        }
    }

    public func remove(_ task: PeriodicTaskID, tenant: TenantID, epoch: Epoch) async throws {
        try await script.around(.removeTask) {
            try await base.remove(task, tenant: tenant, epoch: epoch)
        }
    }

    public func tasks(tenant: TenantID) async throws -> [PeriodicTask] {
        try await script.around(.tasks) { try await base.tasks(tenant: tenant) }
    }

    public func dueTimes(of device: DeviceID, tenant: TenantID) async throws -> [TaskDueTime] {
        try await script.around(.dueTimes) {
            try await base.dueTimes(of: device, tenant: tenant)
        }
    }

    public func spread(limit: Int, epoch: Epoch, at now: Timestamp) async throws -> Bool {
        try await script.around(.spread) {
            try await base.spread(limit: limit, epoch: epoch, at: now)
        }
    }

    public func claim(
        limit: Int,
        in partition: TaskPartition,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> [TaskStep] {
        try await script.around(.claim) {
            try await base.claim(limit: limit, in: partition, epoch: epoch, at: now)
        }
    }

    public func finish(_ step: TaskStep, epoch: Epoch) async throws {
        try await script.around(.finish) { try await base.finish(step, epoch: epoch) }
    }
}

extension DriverMethod {
    public static let putTask: DriverMethod = "putTask"
    public static let removeTask: DriverMethod = "removeTask"
    public static let tasks: DriverMethod = "tasks"
    public static let dueTimes: DriverMethod = "dueTimes"
    public static let spread: DriverMethod = "spread"
    public static let claim: DriverMethod = "claim"
    public static let finish: DriverMethod = "finish"
}
