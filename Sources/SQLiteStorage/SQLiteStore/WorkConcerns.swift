#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

extension SQLConnection {
    /// The most named devices that are looked up to signal them alone; beyond, everybody looks.
    private static var listedTargets: Int { 64 }

    /// Whose open work changed keys mean.
    func concern(of keys: [ChangeKey]) throws -> WorkConcern {
        try WorkConcern(keys) { tenant, number in
            guard let operation = try operation(number), operation.groupIdx == nil,
                operation.group == nil, let activity = try activity(number),
                activity.addressed <= Self.listedTargets
            else { return nil }
            return try targetPages(number, from: 0, limit: .max).flatMap(\.devices)
                .compactMap { try device(at: $0) }
                .map { ConcernedDevice(tenant: tenant, device: $0.row.id) }
        }
    }
}
#endif
