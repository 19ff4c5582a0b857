#if Server
package import HTTPHandling

// The bodies of `/policies`.
extension AdminMessages {
    /// The answer to `GET /policies`.
    package struct PolicyList: Codable, Hashable, Sendable {
        package var policies: [PolicyView]

        package init(
            policies: [PolicyView]
        ) {
            self.policies = policies
        }
    }

    /// A policy as it stands.
    package struct PolicyView: Codable, Hashable, Sendable {
        package var policy: String
        package var group: String
        package var code: String
        package var version: String
        package var payload: JSONValue?
        package var payloadBase64: String?
        /// Seconds.
        package var monitoring: Double
        /// Seconds.
        package var backoff: Double
        /// Seconds.
        package var longestBackoff: Double
        package var maximumTries: Int32
        /// The standing operation that hands it out.
        package var activity: String
        package var devices: ComplianceCountsView

        package init(
            policy: String,
            group: String,
            code: String,
            version: String,
            payload: JSONValue? = nil,
            payloadBase64: String? = nil,
            monitoring: Double,
            backoff: Double,
            longestBackoff: Double,
            maximumTries: Int32,
            activity: String,
            devices: ComplianceCountsView
        ) {
            self.policy = policy
            self.group = group
            self.code = code
            self.version = version
            self.payload = payload
            self.payloadBase64 = payloadBase64
            self.monitoring = monitoring
            self.backoff = backoff
            self.longestBackoff = longestBackoff
            self.maximumTries = maximumTries
            self.activity = activity
            self.devices = devices
        }
    }

    /// How many devices stand how to a policy.
    package struct ComplianceCountsView: Codable, Hashable, Sendable {
        package var compliant: Int
        package var violating: Int
        package var givenUp: Int
        package var unknown: Int

        package init(
            compliant: Int,
            violating: Int,
            givenUp: Int,
            unknown: Int
        ) {
            self.compliant = compliant
            self.violating = violating
            self.givenUp = givenUp
            self.unknown = unknown
        }
    }

    /// The body of `PUT /policies/{policy}`.
    package struct PolicyRequest: Codable, Hashable, Sendable {
        package var group: String?
        package var code: String?
        package var version: String
        package var payload: JSONValue?
        package var payloadBase64: String?
        /// Seconds.
        package var monitoring: Double?
        /// Seconds.
        package var backoff: Double?
        /// Seconds.
        package var longestBackoff: Double?
        package var maximumTries: Int32?

        package init(
            group: String? = nil,
            code: String? = nil,
            version: String,
            payload: JSONValue? = nil,
            payloadBase64: String? = nil,
            monitoring: Double? = nil,
            backoff: Double? = nil,
            longestBackoff: Double? = nil,
            maximumTries: Int32? = nil
        ) {
            self.group = group
            self.code = code
            self.version = version
            self.payload = payload
            self.payloadBase64 = payloadBase64
            self.monitoring = monitoring
            self.backoff = backoff
            self.longestBackoff = longestBackoff
            self.maximumTries = maximumTries
        }
    }

    /// The answer to `GET /policies/{policy}/devices`.
    package struct ComplianceList: Codable, Hashable, Sendable {
        package var devices: [ComplianceView]
        package var next: String?

        package init(
            devices: [ComplianceView],
            next: String? = nil
        ) {
            self.devices = devices
            self.next = next
        }
    }

    /// How one device stands to a policy.
    package struct ComplianceView: Codable, Hashable, Sendable {
        package var device: String
        package var state: String
        package var since: Int64
        package var reportedAt: Int64
        package var version: String
        package var violations: [String]
        package var tries: Int32
        package var next: Int64?

        package init(
            device: String,
            state: String,
            since: Int64,
            reportedAt: Int64,
            version: String,
            violations: [String],
            tries: Int32,
            next: Int64? = nil
        ) {
            self.device = device
            self.state = state
            self.since = since
            self.reportedAt = reportedAt
            self.version = version
            self.violations = violations
            self.tries = tries
            self.next = next
        }
    }
}
#endif
