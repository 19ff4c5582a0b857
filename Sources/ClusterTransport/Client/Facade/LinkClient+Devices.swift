#if Server
internal import ClusterRole
internal import ClusterTransport
public import DeviceRegistry
internal import NIOHTTP1

/// The manager's registry, asked over the link.
extension LinkClient: EnrolmentService, CredentialOracle {
    /// Enrols a device at the manager.
    ///
    /// - Throws: ``ClusterLinkError`` with the manager's own code and category, or `unreachable`. After
    ///   `unreachable` the enrolment may have happened: repeat it with the same idempotency key.
    public func enrol(_ request: EnrolmentRequest) async throws -> EnrolmentReceipt {
        let answer = try await connection.send(
            try .post("/enrolments", json: LinkEnrolment(request))
        )
        let message: LinkEnrolmentReceipt = try answer.decode()
        return try message.receipt()
    }

    public func unenrol(_ device: DeviceIdentity) async throws {
        let tenant = percentEncoded(device.tenant.rawValue)
        let name = percentEncoded(device.device.rawValue)
        _ = try await connection.send(
            LinkRequest(
                method: .DELETE,
                path: "/enrolments/\(tenant)/\(name)?incarnation=\(device.incarnation)"
            )
        )
    }

    public func device(credential: CredentialDigest) async throws -> DeviceRow? {
        do {
            let answer = try await connection.send(
                try .post("/credentials", json: LinkCredentialQuery(credential))
            )
            let message: LinkDeviceRow = try answer.decode()
            return try message.row()
        } catch let error as ClusterLinkError
            where error.codeName == ClusterTransportError.Code.unknownCredential.rawValue
        {
            return nil
        }
    }
}
#endif
