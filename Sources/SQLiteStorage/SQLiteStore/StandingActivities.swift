#if SQLite
internal import ClusterRole
internal import OperationQueue
internal import SQLiteEngine

extension ExecutionWriter {
    /// Tells the open activities for joiners that stays in their groups have begun or ended: who joins is
    /// addressed, who leaves is no longer asked, unless something of it has happened on the device.
    /// It costs one look into an index a group where there are none.
    mutating func note(_ stays: [MembershipRecord]) throws {
        var standing: [Int64: [Int64]] = [:]
        for stay in stays {
            let group = stay.groupIdx
            let numbers = try standing[group] ?? connection.standingNumbers(ofGroupAt: group)
            standing[group] = numbers
            if numbers.isEmpty { continue }
            guard let device = try connection.device(at: stay.deviceIdx) else {
                throw SQLiteStorageError.corruptRow(in: "membership")
            }
            for number in numbers { try note(stay, of: device, in: number) }
        }
    }

    private mutating func note(
        _ stay: MembershipRecord,
        of device: DeviceRecord,
        in number: Int64
    ) throws {
        guard let known = try touch(number), known.activity.state == .open,
            known.operation.operation.terms.scope.addresses(
                number,
                joined: stay.joined,
                left: nil
            )
        else { return }
        if let row = try row(of: known, on: device) {
            if stay.ended == nil || row.state.isFinal { return }
            try store(change(known, on: device, by: .requestCancel), of: number, on: device)
        } else {
            var activity = known.activity
            activity.addressed += stay.ended == nil ? 1 : -1
            try store(activity)
        }
    }
}

extension SQLConnection {
    /// Live activities of a group that are for joiners, ascending.
    fileprivate func standingNumbers(ofGroupAt idx: Int64) throws -> [Int64] {
        try rows(
            """
            SELECT number FROM activity WHERE live = 1 AND standing > 0 AND group_idx = ?
            ORDER BY number
            """,
            idx
        ) { $0.int64(0) }
    }
}
#endif
