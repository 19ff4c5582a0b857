#if Server
/// Backups, purging and quotas.
extension AdminMessages {
    /// The body of `POST /backups`.
    package struct BackupRequest: Codable, Hashable, Sendable {
        /// A new file on the manager's machine.
        package var path: String
        package var replace: Bool?
    }

    /// The answer to `POST /backups`.
    package struct BackupAnswer: Codable, Hashable, Sendable {
        package var path: String
        package var bytes: Int64
        package var revision: String
        package var takenAt: Int64
        /// Rows whose checksum was verified in the copy.
        package var rows: Int
    }

    /// The body of `POST /purge`.
    package struct PurgeRequest: Codable, Hashable, Sendable {
        package var dryRun: Bool?
    }

    /// The answer to `POST /purge`.
    package struct PurgeAnswer: Codable, Hashable, Sendable {
        package var dryRun: Bool
        package var activities: Int
        package var executions: Int
        package var keptForKey: Int
        package var more: Bool
    }

    /// Bounds; absent ones are none.
    package struct QuotaBody: Codable, Hashable, Sendable {
        package var devices: Int?
        package var openActivities: Int?
        package var enqueuesPerMinute: Int?
        package var namedOperationsPerDevice: Int?
    }

    /// The body of `PUT /quota`.
    package struct QuotaRequest: Codable, Hashable, Sendable {
        /// Whose quota it is; absent for the standard one.
        package var tenant: String?
        /// Absent or null takes it away.
        package var quota: QuotaBody?
    }

    /// The answer to `GET /quota`.
    package struct QuotaAnswer: Codable, Hashable, Sendable {
        package var quota: QuotaBody
        package var devices: Int
        package var openActivities: Int?
    }
}
#endif
