import DeviceRegistry
import NotificationDispatch
import OperationQueue
import ReeveManager

// begin: device-protocol
/// Devices prove who they are with the certificate of their connection.
struct CertificateAuthenticator: DeviceAuthenticator {
    let devices: DeviceDirectory

    func authenticate(token subject: String) async throws -> DeviceIdentity? {
        try await devices.device(DeviceID(validating: subject)).row.identity
    }
}

/// Wakes a device over the line the server keeps open to it.
struct OpenLine: PushTransport {
    let ring: @Sendable (_ line: String) async -> Bool

    func wake(_ request: PushRequest) async -> PushOutcome {
        if await ring(request.registration.address) { return .accepted }
        return .retry(after: nil, scope: .device, reason: "hung up")
    }
}

/// One turn of the protocol: how the last command went comes in, the next command goes out.
func turn(
    _ server: ManagerNode,
    certificate: String,
    last: ExecutionResult? = nil
) async throws -> OfferedOperation? {
    let authenticator = CertificateAuthenticator(devices: server.devices)
    guard let device = try await authenticator.authenticate(token: certificate) else { return nil }
    let report = ExchangeReport(results: last.map { [$0] } ?? [], limit: 1)
    return try await server.exchange.exchange(device: device, report: report).operations.first
}
// end: device-protocol
