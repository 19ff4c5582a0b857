public import ClusterRole
public import Logging
internal import Metrics

/// Changes devices and groups: the writer's façade. Only who holds a `WriteCapability` can make one.
///
/// Every method throws ``DeviceRegistryError``; with code `storage` and the category `unavailable`
/// once this node is no longer the coordinator.
public struct DeviceAdministration: Sendable {
    let storage: any DeviceStorage
    private let capability: WriteCapability
    private let clock: any TimeSource
    private let random: any RandomSource
    let logger: Logger

    /// The most devices one call adds to a group or takes out of it: what one transaction holds
    /// without keeping others waiting.
    public static let maximumDevicesPerCall = 10_000
    /// The most groups a device joins as it enrols.
    public static let maximumGroupsPerEnrolment = 64
    /// The longest name of who asked for a change: it stands in every entry of history.
    public static let maximumInitiatorBytes = maximumNameLength
    /// More often, a device does nothing but poll.
    public static let minimumPollingFrequency = Duration.seconds(1)
    /// Less often, a device counts as lost.
    public static let maximumPollingFrequency = Duration.seconds(30 * 86_400)

    public init(
        storage: any DeviceStorage,
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource(),
        logger: Logger = Logger(label: "reeve.devices")
    ) {
        self.storage = storage
        self.capability = capability
        self.clock = clock
        self.random = random
        self.logger = logger
    }

    /// Enrols a device, or re-enrols it: it then inherits nothing open and its old credential ends.
    ///
    /// - Parameters:
    ///   - device: the id it is enrolled under.
    ///   - groups: joined beside ``GroupID/everyone``, made if they are new.
    ///   - pollingFrequency: how often it is to come; `nil` for the standard.
    ///   - owner: the end user it belongs to; `nil` for nobody.
    ///   - key: an idempotency key. Repeated for the enrolment that stands, it only gives the
    ///     device a new credential.
    ///   - initiator: who asks for it, for the device's history.
    ///   - tenant: the tenant it will belong to.
    /// - Returns: the credential, shown this once.
    /// - Throws: with code `dynamicGroup` for a group that is defined by a query.
    public func enrol(
        _ device: DeviceID,
        groups: [GroupID] = [],
        pollingFrequency: Duration? = nil,
        owner: OwnerID? = nil,
        key: String? = nil,
        by initiator: String = "",
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> EnrolmentReceipt {
        try validate(tenant)
        try validate(initiator: initiator)
        try validate(device)
        for group in groups { try validate(group) }
        if let owner { try validate(owner) }
        guard groups.count <= Self.maximumGroupsPerEnrolment else {
            throw DeviceRegistryError(
                .tooLarge,
                "A device enrols into at most \(Self.maximumGroupsPerEnrolment) groups. Join the others afterwards."
            )
        }
        try validate(pollingFrequency)
        if let key, key.isEmpty || key.utf8.count > maximumNameLength {
            throw DeviceRegistryError(
                .invalidRequest,
                "An idempotency key has 1 to \(maximumNameLength) bytes."
            )
        }
        let credential = DeviceCredential(from: random)
        let record = EnrolmentRecord(
            device: device,
            incarnation: IncarnationID(from: random),
            credential: credential.digest,
            groups: unique(groups.filter { $0 != .everyone }),
            pollingFrequency: pollingFrequency,
            key: key,
            initiator: initiator,
            owner: owner
        )
        let receipt = try await commit(.enrol(record), tenant: tenant)
        guard let row = receipt.row else {
            throw DeviceRegistryError(.storage, "The store enrolled no device. Look at its log.")
        }
        Counter(label: "reeve_devices_enrolled_total").increment()
        logger.debug("device enrolled", metadata: ["device": "\(device)", "tenant": "\(tenant)"])
        return EnrolmentReceipt(
            identity: row.identity,
            credential: credential,
            pollingFrequency: row.pollingFrequency,
            revision: receipt.revision
        )
    }

    /// Ends a device's enrolment: its credential is refused, its memberships end, its history stays.
    ///
    /// - Parameters:
    ///   - device: the device that is removed.
    ///   - incarnation: only if it still is this enrolment; `nil` for whichever it is.
    ///   - erasure: whether what it told of itself is deleted with it. A device that was removed before
    ///     can still be erased.
    ///   - initiator: who asks for it, for the device's history.
    ///   - tenant: the tenant it belongs to.
    /// - Throws: with code `unknownDevice` if it is not enrolled, or has been erased already.
    @discardableResult
    public func remove(
        _ device: DeviceID,
        incarnation: IncarnationID? = nil,
        erase erasure: Erasure = .keepHistory,
        by initiator: String = "",
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> Revision {
        try validate(initiator: initiator)
        if let incarnation {
            let known = try await wrapped { try await self.storage.device(device, tenant: tenant) }
            if known?.row.incarnation != incarnation { throw notEnrolled(device) }
        }
        let receipt = try await commit(
            .remove(device, erase: erasure, by: initiator),
            tenant: tenant
        )
        guard receipt.changed > 0 else { throw notEnrolled(device) }
        Counter(label: "reeve_devices_removed_total").increment()
        logger.debug("device removed", metadata: ["device": "\(device)", "tenant": "\(tenant)"])
        return receipt.revision
    }

    /// Adds devices to a group, which is made if it is new. Members stay as they are; devices that
    /// are not enrolled are counted in the receipt.
    ///
    /// - Throws: with code `dynamicGroup` for a group that is defined by a query.
    @discardableResult
    public func join(
        _ group: GroupID,
        _ devices: [DeviceID],
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> DeviceChangeReceipt {
        try validate(tenant)
        try validate(group)
        try validate(devices)
        if group == .everyone { throw reserved() }
        return try await commit(.join(group, unique(devices)), tenant: tenant)
    }

    /// Takes devices out of a group. They stay bound to what they were asked as members.
    ///
    /// - Throws: with code `dynamicGroup` for a group that is defined by a query.
    @discardableResult
    public func leave(
        _ group: GroupID,
        _ devices: [DeviceID],
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> DeviceChangeReceipt {
        try validate(devices)
        if group == .everyone { throw reserved() }
        return try await commit(.leave(group, unique(devices)), tenant: tenant)
    }

    /// Sets how often a device polls by itself; `nil` for the product's default.
    ///
    /// - Parameters:
    ///   - frequency: from ``minimumPollingFrequency`` to ``maximumPollingFrequency``.
    ///   - device: the device that is to come so often.
    ///   - initiator: who asks for it, for the device's history.
    ///   - tenant: the tenant it belongs to.
    /// - Throws: with code `unknownDevice` if it is not enrolled.
    @discardableResult
    public func setPollingFrequency(
        _ frequency: Duration?,
        of device: DeviceID,
        by initiator: String = "",
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> DeviceRow {
        try validate(frequency)
        try validate(initiator: initiator)
        let receipt = try await commit(
            .setPollingFrequency(device, frequency, by: initiator),
            tenant: tenant
        )
        guard let row = receipt.row else { throw notEnrolled(device) }
        return row
    }

    /// Sets how often the members of a group poll by themselves; `nil` for no wish of the group's.
    ///
    /// A device's own frequency wins, then the shortest of its groups, then the product's default. It is
    /// one write, whatever the group's size; devices hear of it in the answer to their next exchange.
    ///
    /// - Throws: with code `unknownGroup` for a group nobody ever made.
    @discardableResult
    public func setPollingFrequency(
        _ frequency: Duration?,
        ofGroup group: GroupID,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> Revision {
        try validate(tenant)
        try validate(group)
        try validate(frequency)
        let receipt = try await commit(
            .setGroupPollingFrequency(group, frequency),
            tenant: tenant
        )
        guard receipt.changed > 0 else {
            throw DeviceRegistryError(
                .unknownGroup,
                "There is no group \(group). Add a device to it first."
            )
        }
        return receipt.revision
    }

    func commit(
        _ change: DeviceChange,
        tenant: TenantID
    ) async throws(DeviceRegistryError) -> DeviceChangeReceipt {
        try await wrapped {
            try await self.storage.commit(
                change,
                tenant: tenant,
                epoch: self.capability.requireEpoch(),
                at: self.clock.now()
            )
        }
    }

    func validate(initiator: String) throws(DeviceRegistryError) {
        guard initiator.utf8.count <= Self.maximumInitiatorBytes else {
            throw DeviceRegistryError(
                .tooLarge,
                "An initiator's name has at most \(Self.maximumInitiatorBytes) bytes."
            )
        }
    }

    func validate(_ name: some NameIdentifier) throws(DeviceRegistryError) {
        do {
            _ = try type(of: name).init(validating: name.rawValue)
        } catch {
            throw DeviceRegistryError(.invalidRequest, error.message, cause: error)
        }
    }

    private func validate(_ devices: [DeviceID]) throws(DeviceRegistryError) {
        guard devices.count <= Self.maximumDevicesPerCall else {
            throw DeviceRegistryError(
                .tooLarge,
                "A call names at most \(Self.maximumDevicesPerCall) devices. Split the list."
            )
        }
    }

    private func validate(_ frequency: Duration?) throws(DeviceRegistryError) {
        guard let frequency else { return }
        guard frequency >= Self.minimumPollingFrequency, frequency <= Self.maximumPollingFrequency
        else {
            throw DeviceRegistryError(
                .invalidRequest,
                "A polling frequency lies between \(Self.minimumPollingFrequency) and "
                    + "\(Self.maximumPollingFrequency)."
            )
        }
    }

    func reserved() -> DeviceRegistryError {
        DeviceRegistryError(
            .reservedGroup,
            "The group \(GroupID.everyone) holds every enrolled device and is kept by the library."
        )
    }

    func notEnrolled(_ device: DeviceID) -> DeviceRegistryError {
        DeviceRegistryError(.unknownDevice, "The device \(device) is not enrolled in this tenant.")
    }

    /// The elements in their order, each once.
    private func unique<Element: Hashable>(_ elements: [Element]) -> [Element] {
        var seen: Set<Element> = []
        return elements.filter { seen.insert($0).inserted }
    }
}
