#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import Synchronization

/// The keys of the newest revisions: whether what was read of a device a moment ago is still true.
///
/// It is written on the writer's queue, by each guarded write, before the commit. If that fails, its
/// numbers are taken again by later writes, which note theirs in the same places.
struct RecentChanges {
    private struct Change {
        var number: Int64
        var keys: [ChangeKey]
    }

    /// 1,024: several group commits between a device's read and its write.
    static let capacity = 1_024

    private var changes = [Change?](repeating: nil, count: capacity)

    mutating func note(_ keys: [ChangeKey], as number: Int64) {
        changes[Int(number % Int64(Self.capacity))] = Change(number: number, keys: keys)
    }

    /// Whether nothing that revisions behind `read`, up to `present`, changed concerns the open work of
    /// a device. Where that is not certain it answers no.
    func leaveAlone(
        _ device: DeviceID,
        of tenant: TenantID,
        from read: Int64,
        to present: Int64
    ) -> Bool {
        guard read <= present, present - read <= Int64(Self.capacity) else { return false }
        var number = read
        while number < present {
            number += 1
            guard let change = changes[Int(number % Int64(Self.capacity))],
                change.number == number
            else { return false }
            for key in change.keys where Self.concerns(key, device, tenant) { return false }
        }
        return true
    }

    private static func concerns(
        _ key: ChangeKey,
        _ device: DeviceID,
        _ tenant: TenantID
    ) -> Bool {
        switch key {
        case .execution(let owner, _, let other), .device(let owner, let other),
            .membership(let owner, _, let other):
            other == device.rawValue && owner == tenant
        case .channel, .spoolMark, .member, .sharedState: false
        case .group, .activity: true
        }
    }
}
#endif
