public import ClusterRole
public import DeviceRegistry
public import OperationQueue

/// A `ComplianceStorage` whose calls fail as a ``FaultScript`` says.
public struct FailingComplianceStorage: ComplianceStorage {
    private let base: any ComplianceStorage
    private let script: FaultScript

    public init(_ base: any ComplianceStorage, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func put(
        _ policy: CompliancePolicy,
        activity: ActivityID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws {
        try await script.around(.putPolicy) {
            try await base.put(policy, activity: activity, tenant: tenant, epoch: epoch)
        }
    }

    public func remove(_ policy: PolicyID, tenant: TenantID, epoch: Epoch) async throws {
        try await script.around(.removePolicy) {
            try await base.remove(policy, tenant: tenant, epoch: epoch)
        }
    }

    public func policies(tenant: TenantID) async throws -> [PolicyStanding] {
        try await script.around(.policies) { try await base.policies(tenant: tenant) }
    }

    public func devices(
        of policy: PolicyID,
        in state: ComplianceState,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceCompliance] {
        try await script.around(.devicesOfPolicy) {
            try await base.devices(
                of: policy,
                in: state,
                after: after,
                limit: limit,
                tenant: tenant
            )
        }
    }

    public func violators(
        at now: Timestamp,
        limit: Int,
        in partition: TaskPartition
    ) async throws -> [ReapplicationStep] {
        try await script.around(.violators) {
            try await base.violators(at: now, limit: limit, in: partition)
        }
    }

    public func advance(_ step: ReapplicationStep, epoch: Epoch, at now: Timestamp) async throws {
        try await script.around(.advance) {
            try await base.advance(step, epoch: epoch, at: now)
        }
    }

    public func sweep(limit: Int, epoch: Epoch) async throws -> Bool {
        try await script.around(.sweep) { try await base.sweep(limit: limit, epoch: epoch) }
    }
}

extension DriverMethod {
    public static let putPolicy: DriverMethod = "putPolicy"
    public static let removePolicy: DriverMethod = "removePolicy"
    public static let policies: DriverMethod = "policies"
    public static let devicesOfPolicy: DriverMethod = "devicesOfPolicy"
    public static let violators: DriverMethod = "violators"
    public static let advance: DriverMethod = "advance"
    public static let sweep: DriverMethod = "sweep"
}
