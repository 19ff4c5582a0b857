#if SQLite
internal import ClusterRole
public import DeviceRegistry
internal import Logging
internal import OperationQueue
internal import Synchronization

/// Who a device is: from memory, else from the manager.
extension WorkerReplica: DeviceAuthenticator {
    /// The device that holds a credential.
    ///
    /// - Returns: `nil` only if the manager has said that nobody has it.
    /// - Throws: `DeviceRegistryError` with code `cannotDecide` when the replica does not hold it and
    ///   the manager cannot be asked.
    public func authenticate(token: String) async throws -> DeviceIdentity? {
        let digest = DeviceCredential(presented: token).digest
        let now = time.monotonic()
        let (known, isRefused) = state.withLock {
            ($0.image.device(credential: digest), $0.credentials.isRefused(digest, at: now))
        }
        if let known { return known.identity }
        if isRefused { return nil }
        guard let oracle else { throw cannotDecide(nil) }
        let row: DeviceRow?
        do {
            row = try await questions.answer(digest) {
                try await oracle.device(credential: digest)
            }
        } catch {
            try Task.checkCancellation()
            throw cannotDecide(error)
        }
        state.withLock { state in
            if let row {
                state.credentials.onLearned(row, at: now)
            } else {
                state.credentials.onRefusal(of: digest, at: now)
            }
        }
        return row.flatMap { $0.state == .enrolled ? $0.identity : nil }
    }

    private func cannotDecide(_ cause: (any Error)?) -> DeviceRegistryError {
        DeviceRegistryError(
            .cannotDecide,
            "This node does not know the credential and no manager can be asked now. Repeat the call "
                + "later; the credential may well be good.",
            retryAfter: configuration.retryAfter,
            cause: cause
        )
    }
}
#endif
