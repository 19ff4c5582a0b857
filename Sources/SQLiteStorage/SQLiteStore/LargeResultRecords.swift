#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `large_result`: one upload without its bytes.
struct UploadRecord {
    /// `nil` before it is stored.
    var idx: Int64?
    var number: Int64
    var deviceIdx: Int64
    var upload: ResultUploads.Upload

    static let columns =
        "idx, number, device_idx, upload, begun, chunks, bytes, digest, received, sum"

    init(_ row: PreparedStatement) throws {
        try row.verify("large_result", sum: 9)
        idx = row.int64(0)
        number = row.int64(1)
        deviceIdx = row.int64(2)
        upload = ResultUploads.Upload(
            id: UploadID(bits: try row.uint128(3)),
            begunAt: Timestamp(rawValue: row.int64(4)),
            chunks: Int32(truncatingIfNeeded: row.int64(5)),
            bytes: row.int64(6),
            digest: row.optionalBlob(7),
            receivedAt: Timestamp(rawValue: row.int64(8))
        )
    }

    init(idx: Int64?, number: Int64, deviceIdx: Int64, upload: ResultUploads.Upload) {
        self.idx = idx
        self.number = number
        self.deviceIdx = deviceIdx
        self.upload = upload
    }

    func store(_ connection: SQLConnection) throws {
        let newest = try connection.row("SELECT max(idx) FROM large_result") { $0.int64(0) } ?? 0
        try connection.run(
            sealedFor: "large_result",
            """
            INSERT OR REPLACE INTO large_result (\(UploadRecord.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            idx ?? newest + 1,
            number,
            deviceIdx,
            upload.id.bits,
            upload.begunAt.rawValue,
            upload.chunks,
            upload.bytes,
            upload.digest,
            upload.receivedAt.rawValue
        )
    }
}

extension SQLConnection {
    /// The uploads of one execution.
    func uploads(_ number: Int64, deviceIdx: Int64) throws -> [UploadRecord] {
        try rows(
            """
            SELECT \(UploadRecord.columns) FROM large_result WHERE number = ? AND device_idx = ?
            ORDER BY begun, upload
            """,
            number,
            deviceIdx
        ) { try UploadRecord($0) }
    }

    /// Takes a piece of a large result.
    ///
    /// - Returns: why it is refused, if it is.
    func take(
        _ chunk: ResultChunk,
        receivedAt time: Timestamp,
        number: Int64,
        deviceIdx: Int64
    ) throws -> String? {
        let known = try uploads(number, deviceIdx: deviceIdx)
        var state = ResultUploads(known.map(\.upload))
        switch state.on(chunk, receivedAt: time) {
        case .refuse(let reason): return reason
        case .ignore: return nil
        case .store(let upload, let forgotten):
            let newest = try row("SELECT max(idx) FROM large_result_chunk") { $0.int64(0) } ?? 0
            try run(
                sealedFor: "large_result_chunk",
                """
                INSERT INTO large_result_chunk
                    (idx, number, device_idx, upload, place, bytes, sum)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
                newest + 1,
                number,
                deviceIdx,
                upload.id.bits,
                chunk.index,
                chunk.bytes
            )
            try UploadRecord(
                idx: known.first { $0.upload.id == upload.id }?.idx,
                number: number,
                deviceIdx: deviceIdx,
                upload: upload
            ).store(self)
            for record in known where forgotten.contains(record.upload.id) {
                try forget(record)
            }
            return nil
        }
    }

    /// Deletes an upload with its bytes.
    func forget(_ record: UploadRecord) throws {
        try run(
            """
            DELETE FROM large_result_chunk WHERE number = ? AND device_idx = ? AND upload = ?
            """,
            record.number,
            record.deviceIdx,
            record.upload.id.bits
        )
        try run("DELETE FROM large_result WHERE idx = ?", record.idx)
    }

    /// Deletes all uploads of an operation with their bytes: what purging it calls.
    func forgetLargeResults(of number: Int64) throws {
        try run("DELETE FROM large_result_chunk WHERE number = ?", number)
        try run("DELETE FROM large_result WHERE number = ?", number)
    }
}

/// A row of table `group_polling`.
struct GroupPollingRecord {
    var groupIdx: Int64
    var frequency: Duration

    static let columns =
        "group_polling.group_idx, group_polling.frequency, group_polling.sum"

    init(_ row: PreparedStatement, from first: Int32 = 0) throws {
        try row.verify("group_polling", from: first, sum: first + 2)
        groupIdx = row.int64(first)
        frequency = .milliseconds(row.int64(first + 1))
    }
}

extension SQLConnection {
    func pollingFrequency(ofGroupAt idx: Int64) throws -> Duration? {
        try row(
            "SELECT \(GroupPollingRecord.columns) FROM group_polling WHERE group_idx = ?",
            idx
        ) { try GroupPollingRecord($0).frequency }
    }

    func setPollingFrequency(_ frequency: Duration?, ofGroupAt idx: Int64) throws {
        remembered.hasGroupPolling = nil
        guard let frequency else {
            try run("DELETE FROM group_polling WHERE group_idx = ?", idx)
            return
        }
        try run(
            sealedFor: "group_polling",
            "INSERT OR REPLACE INTO group_polling (group_idx, frequency, sum) VALUES (?, ?, ?)",
            idx,
            frequency.milliseconds
        )
    }

    /// The shortest frequency of the groups an enrolment is in now.
    func groupPollingFrequency(ofDeviceAt idx: Int64) throws -> Duration? {
        guard try hasGroupPolling() else { return nil }
        var shortest: Duration?
        try forEach(Self.pollingOfDevice, idx) {
            let frequency = try GroupPollingRecord($0).frequency
            shortest = min(shortest ?? frequency, frequency)
        }
        return shortest
    }

    private static let pollingOfDevice = StatementText(
        """
        SELECT \(GroupPollingRecord.columns) FROM membership
        JOIN group_polling ON group_polling.group_idx = membership.group_idx
        WHERE membership.device_idx = ? AND membership.ended IS NULL
        """
    )

    /// Whether it is worth a look: most products give no group a frequency, and the writer, through
    /// which all of them are given, remembers that.
    private func hasGroupPolling() throws -> Bool {
        guard isWriter else { return true }
        if let known = remembered.hasGroupPolling { return known }
        let has = try row("SELECT 1 FROM group_polling LIMIT 1") { _ in true } ?? false
        remembered.hasGroupPolling = has
        return has
    }
}
#endif
