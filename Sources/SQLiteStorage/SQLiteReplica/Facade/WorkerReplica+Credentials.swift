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
    /// - Throws: ``DeviceRegistryError``: `invalidCredential` only if the manager has said so;
    ///   `cannotDecide` when the replica does not hold it and the manager cannot be asked.
    public func authenticate(
        _ credential: DeviceCredential
    ) async throws(DeviceRegistryError) -> DeviceIdentity {
        let digest = credential.digest
        let now = time.monotonic()
        let (known, isRefused) = state.withLock {
            ($0.image.device(credential: digest), $0.credentials.isRefused(digest, at: now))
        }
        if let known { return known.identity }
        if isRefused { throw Self.unknownCredential }
        guard let oracle else { throw cannotDecide(nil) }
        let row: DeviceRow?
        do {
            row = try await questions.answer(digest) {
                try await oracle.device(credential: digest)
            }
        } catch {
            throw cannotDecide(error)
        }
        state.withLock { state in
            if let row {
                state.credentials.onLearned(row, at: now)
            } else {
                state.credentials.onRefusal(of: digest, at: now)
            }
        }
        guard let row, row.state == .enrolled else { throw Self.unknownCredential }
        return row.identity
    }

    private static let unknownCredential = DeviceRegistryError(
        .invalidCredential, "No enrolled device has this credential. Enrol the device again.")

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
