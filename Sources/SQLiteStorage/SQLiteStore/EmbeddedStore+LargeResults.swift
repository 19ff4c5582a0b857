#if SQLite
public import ClusterRole
public import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

// Large results: LargeResultStorage, which OperationStorage includes.
extension EmbeddedStore {
    public func largeResult(
        of activity: ActivityID,
        on device: DeviceID,
        tenant: TenantID
    ) async throws -> LargeResult? {
        try await file.read { connection in
            guard let operation = try connection.operation(of: activity, tenant: tenant) else {
                return nil
            }
            // Every enrolment the device ever had; the newest that sent one counts.
            let devices = try connection.rows(
                """
                SELECT \(DeviceRecord.columns) FROM device WHERE idx IN (
                    SELECT device_idx FROM large_result WHERE number = ? AND digest IS NOT NULL)
                    AND tenant = ? AND id = ? ORDER BY idx DESC
                """,
                operation.operation.number,
                tenant.rawValue,
                device.rawValue
            ) { try DeviceRecord($0) }
            for found in devices {
                let records = try connection.uploads(
                    operation.operation.number,
                    deviceIdx: found.idx
                )
                guard let upload = ResultUploads(records.map(\.upload)).complete else { continue }
                return LargeResult(
                    upload,
                    of: ExecutionID(
                        operation: operation.operation.id,
                        incarnation: found.row.incarnation,
                        device: device
                    )
                )
            }
            return nil
        }
    }

    public func chunk(
        _ index: Int32,
        of result: LargeResult,
        tenant: TenantID
    ) async throws -> [UInt8]? {
        try await file.read { connection in
            guard let operation = try connection.operation(result.execution.operation),
                operation.tenant == tenant
            else { return nil }
            return try connection.row(
                """
                SELECT idx, number, device_idx, upload, place, bytes, sum FROM large_result_chunk
                WHERE number = ? AND upload = ? AND place = ? AND device_idx IN (
                    SELECT idx FROM device WHERE tenant = ? AND id = ? AND incarnation = ?)
                """,
                operation.operation.number,
                result.upload.bits,
                index,
                tenant.rawValue,
                result.execution.device.rawValue,
                result.execution.incarnation.bits
            ) {
                try $0.verify("large_result_chunk", sum: 6)
                return $0.blob(5)
            }
        }
    }

    public func clearUploads(
        begunBefore time: Timestamp,
        limit: Int,
        epoch: Epoch
    ) async throws -> Int {
        try await guarded(epoch: epoch) { connection, _ in
            let found = try connection.rows(
                """
                SELECT \(UploadRecord.columns) FROM large_result
                WHERE digest IS NULL AND begun < ? ORDER BY begun LIMIT ?
                """,
                time.rawValue,
                max(0, limit)
            ) { try UploadRecord($0) }
            for record in found { try connection.forget(record) }
            return ([], found.count)
        }.result
    }
}

extension EmbeddedStore: WorkSignals {
    public func observeWork(_ observer: @escaping @Sendable (WorkConcern) -> Void) {
        signals.observeWork(observer)
    }
}
#endif
