#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// Devices the writer has met: their rows, and what their open work is found by. A device that has just
/// fetched its work reports it soon.
///
/// Each row was verified when it was read. It stays true because all changes come through the same
/// connection, which says so here; what is taken back is forgotten as a whole (``ConnectionMemory``).
final class KnownDevices {
    final class Known {
        let record: DeviceRecord
        /// Live operations that name it, ascending; `nil` until they are asked for.
        var targets: [Int64]?
        var memberships: [MembershipRecord]?
        var contact: ContactRecord?

        init(_ record: DeviceRecord) { self.record = record }
    }

    private struct Name: Hashable {
        var tenant: TenantID
        var device: DeviceID
    }

    /// 4,096: a few MB at most, and more than are served in the time between a fetch and its report on a
    /// busy manager. When more are met, all are forgotten.
    static let capacity = 4_096
    /// A device with more of either is read each time.
    static let maximumRows = 16

    private var byName: [Name: Known] = [:]
    private var byIdx: [Int64: Known] = [:]

    func device(_ id: DeviceID, _ tenant: TenantID) -> DeviceRecord? {
        byIdx.isEmpty ? nil : byName[Name(tenant: tenant, device: id)]?.record
    }

    subscript(idx: Int64) -> Known? { byIdx.isEmpty ? nil : byIdx[idx] }

    func add(_ record: DeviceRecord) {
        guard record.isEnrolled else { return }
        if byIdx.count >= Self.capacity {
            byName = [:]
            byIdx = [:]
        }
        let known = Known(record)
        byName[Name(tenant: record.row.tenant, device: record.row.id)] = known
        byIdx[record.idx] = known
    }

    func forget(_ idx: Int64) {
        guard !byIdx.isEmpty, let known = byIdx.removeValue(forKey: idx) else { return }
        byName[Name(tenant: known.record.row.tenant, device: known.record.row.id)] = nil
    }
}

/// Live operations of groups, as the writer has read them: every member's poll asks for them.
final class KnownGroupWork {
    struct LiveNumber {
        var number: Int64
        var scope: GroupScope
    }

    /// 1,024 groups that devices come from at one time. When more are met, all are forgotten.
    static let capacity = 1_024
    /// A group with more of them is read each time.
    static let maximumNumbers = 64

    private var numbers: [Int64: [LiveNumber]] = [:]
    /// Groups with more.
    private var crowded: Set<Int64> = []

    subscript(groupIdx: Int64) -> [LiveNumber]? { numbers[groupIdx] }

    func isCrowded(_ groupIdx: Int64) -> Bool {
        !crowded.isEmpty && crowded.contains(groupIdx)
    }

    func set(_ groupIdx: Int64, to found: [LiveNumber]) {
        if numbers[groupIdx] != nil { return }
        if numbers.count + crowded.count >= Self.capacity {
            numbers = [:]
            crowded = []
        }
        if found.count <= Self.maximumNumbers {
            numbers[groupIdx] = found
        } else {
            crowded.insert(groupIdx)
        }
    }

    /// An activity of the group was stored.
    func forget(_ groupIdx: Int64) {
        if !numbers.isEmpty { numbers[groupIdx] = nil }
        if !crowded.isEmpty { crowded.remove(groupIdx) }
    }
}

extension SQLConnection {
    /// `device(_:tenant:)`, from the writer's memory if it is there. For the paths of devices.
    func knownDevice(_ id: DeviceID, tenant: TenantID) throws -> DeviceRecord? {
        guard isWriter else { return try device(id, tenant: tenant) }
        let known = remembered.devices
        if let record = known.device(id, tenant) { return record }
        guard let record = try device(id, tenant: tenant) else { return nil }
        known.add(record)
        return record
    }

    /// What is remembered of a device, if it is.
    func knownDevice(at idx: Int64) -> KnownDevices.Known? {
        isWriter ? remembered.devices[idx] : nil
    }

    /// A device's row or memberships were changed.
    func forgetKnownDevice(at idx: Int64) { remembered.devices.forget(idx) }
}
#endif
