internal import ClusterRole
public import DeviceRegistry

extension DeviceExchange {
    /// Stores where to reach a device with wake-ups; `nil` ends it.
    ///
    /// - Throws: ``OperationQueueError`` with code `tooLarge` or `invalidRequest`.
    public func register(
        push: (transport: String, address: String)?,
        device: DeviceIdentity
    ) async throws(OperationQueueError) {
        let now = settings.clock.now()
        if let push {
            guard !push.transport.isEmpty, push.transport.utf8.count <= maximumNameLength,
                !push.address.isEmpty
            else {
                throw OperationQueueError(
                    .invalidRequest,
                    "A push registration names a transport and an address."
                )
            }
            guard push.address.utf8.count <= PushRegistration.maximumAddressBytes else {
                throw OperationQueueError(
                    .tooLarge,
                    "A push address has at most \(PushRegistration.maximumAddressBytes) bytes."
                )
            }
        }
        let registration = push.map {
            PushRegistration(transport: $0.transport, address: $0.address, registeredAt: now)
        }
        try await commit([
            InboxEntry(identity: device, receivedAt: now, body: .registration(registration))
        ])
    }

    /// Stores what a device says about itself.
    ///
    /// - Throws: ``OperationQueueError`` with code `tooLarge` or `invalidRequest`
    ///   (see `DeviceRegistry.InformationRules`).
    public func record(
        _ kind: InformationKind,
        body: [UInt8],
        device: DeviceIdentity
    ) async throws(OperationQueueError) {
        do {
            try InformationRules.validate(body)
        } catch {
            let code: OperationQueueError.Code =
                error.code == .tooLarge ? .tooLarge : .invalidRequest
            throw OperationQueueError(code, error.message, cause: error)
        }
        do {
            _ = try InformationKind(validating: kind.rawValue)
        } catch {
            throw OperationQueueError(.invalidRequest, error.message, cause: error)
        }
        let now = settings.clock.now()
        try await commit([
            InboxEntry(identity: device, receivedAt: now, body: .information(kind, body: body))
        ])
    }
}
