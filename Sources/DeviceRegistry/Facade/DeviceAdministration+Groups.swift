public import ClusterRole
internal import Logging
internal import Metrics

// Groups that are defined by queries.
extension DeviceAdministration {
    /// Devices compared with a group's query in one transaction, so that no walk keeps others waiting.
    public static let devicesPerEvaluation = 1_000

    /// Defines a group's members by a query, and brings the members in line with it.
    ///
    /// From the first transaction on, every change to what a device told, to its polling frequency, to a
    /// group the query names and every enrolment decides on the membership at once. Devices that do not
    /// change are compared in pages of ``devicesPerEvaluation``; if this call ends half way,
    /// ``DynamicGroupTask`` goes on where it stood. Defining a group anew begins a new walk. A group that
    /// was kept by list keeps the members the query asks for.
    ///
    /// - Parameters:
    ///   - group: made if it is new.
    ///   - query: may not look at ``Liveness``, nor name a group that is defined by a query.
    ///   - tenant: the tenant it belongs to.
    /// - Throws: with code `invalidQuery`, `dynamicGroup`, `tooLarge` or `reservedGroup`.
    @discardableResult
    public func define(
        _ group: GroupID,
        as query: DeviceQuery,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> GroupDefinitionReceipt {
        try validate(tenant)
        try validate(group)
        try query.validate()
        if group == .everyone { throw reserved() }
        if query.subjects.contains(.liveness) {
            throw DeviceRegistryError(
                .invalidQuery,
                "A group is not defined by liveness: its members would come and go with each contact. "
                    + "List such devices by a query instead."
            )
        }
        var receipt = try await commit(.define(group, as: query), tenant: tenant)
        var total = GroupDefinitionReceipt(revision: receipt.revision)
        while !receipt.isSettled {
            receipt = try await commit(
                .evaluate(group, limit: Self.devicesPerEvaluation),
                tenant: tenant
            )
            total.revision = receipt.revision
            total.evaluated += receipt.evaluated
            total.changed += receipt.changed
        }
        Counter(label: "reeve_devices_groups_defined_total").increment()
        logger.debug(
            "group defined",
            metadata: ["group": "\(group)", "tenant": "\(tenant)", "query": "\(query)"]
        )
        return total
    }

    /// Keeps a group by list again. Its members stay.
    ///
    /// - Throws: with code `unknownGroup` if the group is not defined by a query.
    @discardableResult
    public func undefine(
        _ group: GroupID,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> Revision {
        let receipt = try await commit(.define(group, as: nil), tenant: tenant)
        guard receipt.changed > 0 else {
            throw DeviceRegistryError(
                .unknownGroup,
                "There is no group \(group) in this tenant that is defined by a query."
            )
        }
        return receipt.revision
    }
}

/// A group was defined by a query and compared with every device.
public struct GroupDefinitionReceipt: Hashable, Sendable {
    /// The revision after the last membership that changed.
    public var revision: Revision
    /// Devices compared.
    public var evaluated: Int
    /// Memberships that began or ended by it.
    public var changed: Int

    public init(revision: Revision, evaluated: Int = 0, changed: Int = 0) {
        self.revision = revision
        self.evaluated = evaluated
        self.changed = changed
    }
}

extension DeviceAdministration {
    /// Gives a device to an end user, who then sees and controls it; `nil` takes it from whoever has it.
    ///
    /// - Parameters:
    ///   - owner: the name of the end user's identity. It need not exist yet.
    ///   - device: the device that is given.
    ///   - initiator: who asks for it, for the device's history.
    ///   - tenant: the tenant of both.
    /// - Throws: with code `unknownDevice` if it is not enrolled.
    public func setOwner(
        _ owner: OwnerID?,
        of device: DeviceID,
        by initiator: String = "",
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) {
        if let owner { try validate(owner) }
        try validate(initiator: initiator)
        let receipt = try await commit(.setOwner(device, owner, by: initiator), tenant: tenant)
        guard receipt.changed > 0 else { throw notEnrolled(device) }
    }
}
