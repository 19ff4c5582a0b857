#if Server
internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import HTTPTypes
internal import OperationQueue

/// Enrolling and removing devices: `enrolments`. Never spooled, because the device waits for its
/// credential; safe to repeat with the same idempotency key.
extension LinkEndpoint {
    mutating func addDeviceRoutes() throws {
        let endpoint = self
        try on(.post, "/enrolments", operationID: "linkEnrol") { request, _ in
            try await endpoint.enrol(try await request.decode())
        }
        try on(.delete, "/enrolments/{tenant}/{device}", operationID: "linkUnenrol") { request, _ in
            try await endpoint.unenrol(request)
        }
    }

    private func enrol(_ message: LinkEnrolment) async throws -> HandlerResponse {
        // Asked first, so that a manager that may not write says so before the policy is troubled.
        _ = try authority()
        let receipt = try await services.enrolment.enrol(
            try message.request(maximumGroups: limits.maximumGroups)
        )
        services.hints.publish(receipt.revision)
        return try .json(
            LinkEnrolmentReceipt(receipt),
            status: .created,
            headerFields: [.cacheControl: "no-store"]
        )
    }

    private func unenrol(_ request: HandlerRequest) async throws -> HandlerResponse {
        _ = try authority()
        guard let text = request.query["incarnation"] else {
            throw HTTPHandlingError(
                .invalidParameter,
                "Name the enrolment that ends: ?incarnation= and 32 hexadecimal digits."
            )
        }
        try await services.enrolment.unenrol(
            DeviceIdentity(
                tenant: try request.parameters.require("tenant"),
                device: try request.parameters.require("device"),
                incarnation: try IncarnationID(parsing: text)
            )
        )
        services.hints.publish(try await services.replicas.currentRevision())
        return .empty()
    }
}
#endif
