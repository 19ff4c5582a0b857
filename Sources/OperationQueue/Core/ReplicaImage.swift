public import ClusterRole
public import DeviceRegistry

/// A worker's replica as a value: what is open for every device, answered from memory.
///
/// It holds, per device, its identity, state, credential digest, polling frequency and membership
/// intervals, and, of live activities, the operations and the executions that are not final; of final
/// ones one bit. Devices have dense indices into flat arrays, so that 1,000,000 of them fit.
///
/// **Snapshots.** During a snapshot the image builds a second one beside it and goes on answering
/// from the first; the last page puts the new one in its place. Rows of a snapshot may be newer than
/// its revision; ``isSettled`` says whether the delta that makes it exact has been taken.
///
/// It is not thread-safe by itself: keep it under a lock or in an actor.
public struct ReplicaImage: Sendable {
    private var tables: ReplicaTables?
    private var building: ReplicaTables?
    /// Whether the image is exactly what the store held at ``revision``. `false` before the first
    /// snapshot and between a snapshot's last page and the delta after it.
    public private(set) var isSettled = false
    /// The revision the image has; `nil` before the first snapshot. Ask for a delta after it.
    public private(set) var revision: Revision?
    /// How far this node's spool has been applied in what the image holds.
    public private(set) var mark: SpoolMark?
    private var buildingMark: SpoolMark?

    public init() {}

    /// How many enrolled devices the image holds.
    public var deviceCount: Int { tables?.enrolledCount ?? 0 }

    /// How many live activities the image holds.
    public var activityCount: Int { tables?.activityCount ?? 0 }

    /// Takes a page.
    ///
    /// - Returns: whether it was taken. A delta of another history, one that would go back, and a
    ///   further page of a snapshot that never began are refused and change nothing.
    @discardableResult
    public mutating func apply(_ page: ReplicaPage) -> Bool {
        switch page.content {
        case .snapshotBegins:
            building = ReplicaTables()
            buildingMark = nil
        case .snapshotContinues:
            guard building != nil else { return false }
        case .delta:
            guard let revision, page.revision.covers(revision) else { return false }
            if let mark = tables?.takeDelta(
                page.rows,
                revision: page.revision.number
            ) {
                self.mark = mark
            }
            self.revision = page.revision
            isSettled = true
            return true
        }
        if let mark = building?.takeSnapshot(page.rows) { buildingMark = mark }
        guard page.next == nil else { return true }
        building?.finishSnapshot()
        tables = building
        building = nil
        mark = buildingMark
        revision = page.revision
        isSettled = false
        return true
    }

    /// What is open for a device, without the entries of this node's spool that the image does not
    /// contain yet (``SpoolOverlay`` adds them).
    ///
    /// - Returns: `nil` for a device that is not enrolled as far as the image knows.
    public func openWork(for device: DeviceID, tenant: TenantID) -> OpenWork? {
        guard let tables, let revision, let index = tables.index(of: device, tenant: tenant),
            let row = tables.row(at: index), row.state == .enrolled
        else { return nil }
        var work = OpenWork(
            revision: revision,
            device: row,
            items: tables.openItems(at: index)
        )
        work.groupPollingFrequency = tables.groupPollingFrequency(at: index)
        return work
    }

    /// Whose open work a page may change. Ask **before** the page is applied, since it may take away
    /// what says whom an activity named; signal it afterwards.
    public func concern(of page: ReplicaPage) -> WorkConcern {
        if page.content != .delta { return page.next == nil ? .everybody : .nobody }
        var devices: [ConcernedDevice] = []
        func add(_ tenant: TenantID, _ device: DeviceID) {
            devices.append(ConcernedDevice(tenant: tenant, device: device))
        }
        for row in page.rows {
            switch row {
            case .device(let row): add(row.tenant, row.id)
            case .membership(let tenant, let membership): add(tenant, membership.device)
            case .target(let tenant, _, let device, _): add(tenant, device)
            case .execution(let tenant, _, let execution): add(tenant, execution.id.device)
            case .activity(_, let activity):
                if activity.group != nil { return .everybody }
                // A new one brings its targets with it.
                devices += tables?.targets(of: activity.operation.number) ?? []
            case .activityGone(_, let number):
                guard let named = tables?.targets(of: number) else { return .everybody }
                devices += named
            case .group, .mark: break
            }
        }
        return devices.isEmpty ? .nobody : .devices(devices)
    }

    /// The enrolled device whose credential has this digest.
    public func device(credential: CredentialDigest) -> DeviceRow? { tables?.row(of: credential) }

    /// The device of this name, enrolled or known to be removed.
    public func device(_ device: DeviceID, tenant: TenantID) -> DeviceRow? {
        tables.flatMap { tables in
            tables.index(of: device, tenant: tenant).flatMap { tables.row(at: $0) }
        }
    }
}
