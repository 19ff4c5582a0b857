internal import ClusterRole

/// Finds out who a device is by what it presents. Products with identities of their own write one.
public protocol DeviceAuthenticator: Sendable {
    /// - Returns: the device, or `nil` if the token is nobody's.
    /// - Throws: ``DeviceRegistryError`` with code `cannotDecide` when it cannot be known now: the
    ///   answer is then 503, never 401.
    func authenticate(token: String) async throws -> DeviceIdentity?
}

/// Authenticates by the credential that enrolment gave out.
public struct CredentialAuthenticator: DeviceAuthenticator {
    private let reader: any DeviceReader

    public init(reader: any DeviceReader) { self.reader = reader }

    public func authenticate(token: String) async throws -> DeviceIdentity? {
        let digest = DeviceCredential(presented: token).digest
        do {
            return try await reader.device(credential: digest)?.identity
        } catch {
            throw DeviceRegistryError(
                .cannotDecide,
                "Who is calling cannot be decided now. Repeat the call in a while.",
                retryAfter: .seconds(5),
                cause: error
            )
        }
    }
}
