#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// Where a replica row stands in the file: its kind, and a key that sorts all rows of an activity
/// together. The raw values and the layout are part of the file's format.
struct ReplicaKey: Hashable, Sendable {
    enum Kind: Int64, Hashable, Sendable, CaseIterable {
        case device = 1
        case membership = 2
        case activity = 3
        case target = 4
        case execution = 5
        case group = 6

        /// The kinds whose rows go with their activity.
        static let ofActivity: [Kind] = [.activity, .target, .execution]
    }

    var kind: Kind
    var bytes: [UInt8]

    /// The key of a row; `nil` for news that is no row.
    init?(_ row: ReplicaRow) {
        var writer = ByteWriter(capacity: 64)
        switch row {
        case .device(let device):
            kind = .device
            writer.write(device.tenant.rawValue)
            writer.write(device.id.rawValue)
        case .membership(let tenant, let membership):
            kind = .membership
            writer.write(tenant.rawValue)
            writer.write(membership.group.rawValue)
            writer.write(membership.device.rawValue)
            writer.writeOrdered(membership.joined)
        case .activity(let tenant, let activity):
            kind = .activity
            writer.writeRaw(Self.prefix(tenant, activity.operation.number))
        case .target(let tenant, let number, let device, let incarnation):
            kind = .target
            writer.writeRaw(Self.prefix(tenant, number))
            writer.write(device.rawValue)
            writer.write(incarnation.bits)
        case .execution(let tenant, let number, let execution):
            kind = .execution
            writer.writeRaw(Self.prefix(tenant, number))
            writer.write(execution.id.device.rawValue)
            writer.write(execution.id.incarnation.bits)
        case .group(let tenant, let group, _):
            kind = .group
            writer.write(tenant.rawValue)
            writer.write(group.rawValue)
        case .activityGone, .mark:
            return nil
        }
        bytes = writer.bytes
    }

    /// What the keys of all rows of an activity begin with.
    static func prefix(_ tenant: TenantID, _ number: Int64) -> [UInt8] {
        var writer = ByteWriter(capacity: 32)
        writer.write(tenant.rawValue)
        writer.writeOrdered(number)
        return writer.bytes
    }

    /// The first key behind all that begin with `prefix`, which ends in an ordered number.
    static func end(of prefix: [UInt8]) -> [UInt8] {
        var end = prefix
        while let last = end.popLast() {
            if last < 0xFF { return end + [last + 1] }
        }
        return prefix + [0xFF]
    }
}

extension ByteWriter {
    /// Eight bytes that sort as the number does; it is not negative.
    fileprivate mutating func writeOrdered(_ number: Int64) {
        withUnsafeBytes(of: UInt64(bitPattern: number).bigEndian) { writeRaw($0) }
    }
}
#endif
