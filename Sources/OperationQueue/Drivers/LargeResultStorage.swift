public import ClusterRole
public import DeviceRegistry

/// Reads large results, which are kept apart from executions.
public protocol LargeResultReader: Sendable {
    /// The complete large result of an activity on a device.
    ///
    /// - Returns: `nil` if there is none, or not all of it has come.
    func largeResult(
        of activity: ActivityID,
        on device: DeviceID,
        tenant: TenantID
    ) async throws -> LargeResult?

    /// One chunk of a large result.
    ///
    /// - Parameters:
    ///   - index: from 0 up to, not including, ``LargeResult/chunks``.
    ///   - result: as ``largeResult(of:on:tenant:)`` returned it.
    ///   - tenant: the tenant the activity belongs to.
    /// - Returns: `nil` if it is gone, because its activity was purged.
    func chunk(_ index: Int32, of result: LargeResult, tenant: TenantID) async throws -> [UInt8]?
}

/// Keeps large results. Chunks come through ``OperationStorage/apply(_:from:epoch:at:)`` as entries; each
/// is judged by ``ResultUploads``, and creates no revision, since no replica holds it.
public protocol LargeResultStorage: LargeResultReader {
    /// Forgets uploads that are not complete and were begun before a time: their device has begun again
    /// or given up.
    ///
    /// - Returns: how many were forgotten; at most `limit`.
    func clearUploads(begunBefore time: Timestamp, limit: Int, epoch: Epoch) async throws -> Int
}
