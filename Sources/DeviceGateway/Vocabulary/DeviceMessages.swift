#if Server
package import HTTPHandling

/// The bodies of the device API, as `Documentation/OpenAPI/device-v1.json` describes them.
///
/// Durations are seconds with decimals; identifiers are opaque text. Unknown members are ignored, so
/// that an older gateway serves a newer device. The types are `Codable` both ways: the gateway reads
/// what a device writes, and the package's own device simulators write it.
package enum DeviceMessages: Sendable {
    /// The body of `POST /enrolments`.
    package struct EnrolmentRequest: Codable, Hashable, Sendable {
        package var device: String
        /// What the product's enrolment policy asks for.
        package var secret: String?
        package var groups: [String]?

        package init(device: String, secret: String? = nil, groups: [String]? = nil) {
            self.device = device
            self.secret = secret
            self.groups = groups
        }
    }

    /// The answer to `POST /enrolments`. The credential is never shown again.
    package struct EnrolmentAnswer: Codable, Hashable, Sendable {
        package var device: String
        package var credential: String
        /// Seconds until the first exchange.
        package var pollAfter: Double

        package init(device: String, credential: String, pollAfter: Double) {
            self.device = device
            self.credential = credential
            self.pollAfter = pollAfter
        }
    }

    /// The body of `POST /exchange`. Without results and progress it is a poll.
    package struct ExchangeRequest: Codable, Hashable, Sendable {
        package var results: [ResultReport]?
        package var progress: [ProgressReport]?
        /// The most operations to hand out.
        package var limit: Int?
        /// Whether work whose delivery lease still runs is handed out again.
        package var redeliver: Bool?
        /// Seconds to wait for work if there is none and nothing is reported.
        package var wait: Double?

        package init(
            results: [ResultReport]? = nil,
            progress: [ProgressReport]? = nil,
            limit: Int? = nil,
            redeliver: Bool? = nil,
            wait: Double? = nil
        ) {
            self.results = results
            self.progress = progress
            self.limit = limit
            self.redeliver = redeliver
            self.wait = wait
        }
    }

    /// What became of one execution.
    package struct ResultReport: Codable, Hashable, Sendable {
        /// What a device answers.
        package enum Status: String, Codable, Hashable, Sendable, CaseIterable {
            case completed, failed, notNow, awaitingConfirmation, confirmed, cancelled
        }

        package var execution: String
        package var attempt: String?
        package var status: Status
        /// With `notNow`: seconds until it may be offered again.
        package var retryAfter: Double?
        /// With `failed`: the device's error code.
        package var error: String?
        package var detail: JSONValue?

        package init(
            execution: String,
            attempt: String? = nil,
            status: Status,
            retryAfter: Double? = nil,
            error: String? = nil,
            detail: JSONValue? = nil
        ) {
            self.execution = execution
            self.attempt = attempt
            self.status = status
            self.retryAfter = retryAfter
            self.error = error
            self.detail = detail
        }
    }

    /// News of an execution under way.
    package struct ProgressReport: Codable, Hashable, Sendable {
        package var execution: String
        package var attempt: String?
        package var detail: JSONValue?

        package init(execution: String, attempt: String? = nil, detail: JSONValue? = nil) {
            self.execution = execution
            self.attempt = attempt
            self.detail = detail
        }
    }

    /// The answer to `POST /exchange`.
    package struct ExchangeAnswer: Codable, Hashable, Sendable {
        package var operations: [OfferedOperation]
        /// Executions to end because they were cancelled.
        package var cancel: [String]
        /// Seconds until the next exchange.
        package var pollAfter: Double
        /// The revision the answer is true of.
        package var revision: String
        /// How many operations the device has still to answer, those of this answer included.
        package var open: Int
        /// Seconds since the worker last heard its manager, while it is cut off.
        package var age: Double?
    }

    /// One operation handed out.
    package struct OfferedOperation: Codable, Hashable, Sendable {
        package var execution: String
        package var attempt: String
        package var code: String
        package var type: String
        package var priority: Int32
        /// How often it was handed out before without an answer.
        package var redelivery: Int32
        /// How often it has failed or timed out here before.
        package var retries: Int32
        /// `required`: ask the user first; `given`: the user has agreed. Absent if nobody is asked.
        package var confirmation: String?
        /// The payload, where it is JSON.
        package var payload: JSONValue?
        /// The payload in base64 (RFC 4648, section 4), where it is anything else.
        package var payloadBase64: String?
    }

    /// The body of `PUT /push-registration`.
    package struct PushRegistrationRequest: Codable, Hashable, Sendable {
        package var transport: String
        package var address: String

        package init(transport: String, address: String) {
            self.transport = transport
            self.address = address
        }
    }
}
#endif
