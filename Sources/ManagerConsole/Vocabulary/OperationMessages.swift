#if Server
package import HTTPHandling

/// Operations and activities.
extension AdminMessages {
    /// The body of `POST /operations`.
    package struct OperationRequest: Codable, Hashable, Sendable {
        /// Whom it addresses: one of the two.
        package struct Target: Codable, Hashable, Sendable {
            package var devices: [String]?
            package var group: String?

            package init(devices: [String]? = nil, group: String? = nil) {
                self.devices = devices
                self.group = group
            }
        }

        /// Whether waiting work ahead is passed by.
        package enum Order: String, Codable, Hashable, Sendable {
            case skipsWaiting, strict
        }

        /// Whether the devices are woken.
        package enum Wake: String, Codable, Hashable, Sendable {
            case push, none
        }

        package var target: Target
        package var code: String
        package var type: String?
        package var payload: JSONValue?
        package var payloadBase64: String?
        package var priority: Int32?
        package var order: Order?
        /// Seconds.
        package var expiresAfter: Double?
        /// Seconds.
        package var deliveryLease: Double?
        package var wake: Wake?
        package var scope: Scope?
        /// Milliseconds since 1970.
        package var notBefore: Int64?
        package var window: Window?
        package var timeouts: Timeouts?
        package var retry: Retry?
        package var after: [Dependency]?
        package var noRepeat: Bool?
        /// The key by which it replaces older ones.
        package var supersede: String?
        package var confirmation: Confirmation?
        package var approval: Approval?
        package var rollout: Rollout?

        package init(
            target: Target,
            code: String,
            type: String? = nil,
            payload: JSONValue? = nil,
            payloadBase64: String? = nil,
            priority: Int32? = nil,
            order: Order? = nil,
            expiresAfter: Double? = nil,
            deliveryLease: Double? = nil,
            wake: Wake? = nil
        ) {
            self.target = target
            self.code = code
            self.type = type
            self.payload = payload
            self.payloadBase64 = payloadBase64
            self.priority = priority
            self.order = order
            self.expiresAfter = expiresAfter
            self.deliveryLease = deliveryLease
            self.wake = wake
        }
    }

    /// The answer to `POST /operations`.
    package struct EnqueueAnswer: Codable, Hashable, Sendable {
        package var activity: String
        package var number: Int64
        package var revision: String
        package var addressed: Int
        package var unknown: Int
        /// Whether the idempotency key had been used for this request before.
        package var repeated: Bool

        package init(
            activity: String,
            number: Int64,
            revision: String,
            addressed: Int,
            unknown: Int,
            repeated: Bool
        ) {
            self.activity = activity
            self.number = number
            self.revision = revision
            self.addressed = addressed
            self.unknown = unknown
            self.repeated = repeated
        }
    }

    /// The answer to `GET /activities`, newest first.
    package struct ActivityList: Codable, Hashable, Sendable {
        package var activities: [ActivityView]
        package var next: String?

        package init(activities: [ActivityView], next: String? = nil) {
            self.activities = activities
            self.next = next
        }
    }

    /// One request and how it stands.
    package struct ActivityView: Codable, Hashable, Sendable {
        package var id: String
        package var number: Int64
        package var code: String
        package var type: String
        package var state: String
        package var group: String?
        package var initiator: String
        package var addressed: Int
        /// Executions by state; states nobody is in are left out.
        package var counts: [String: Int]
        package var answeredLate: Int
        package var createdAt: Int64
        package var closedAt: Int64?
        /// Why it is handed out to nobody, if it is not.
        package var hold: String?
        /// The share of its devices it is released to, in per cent, while that is not all.
        package var releasedPercent: Double?
        /// Who approved, rejected, paused or resumed it last.
        package var decidedBy: String?

        package init(
            id: String,
            number: Int64,
            code: String,
            type: String,
            state: String,
            group: String? = nil,
            initiator: String,
            addressed: Int,
            counts: [String: Int],
            answeredLate: Int,
            createdAt: Int64,
            closedAt: Int64? = nil
        ) {
            self.id = id
            self.number = number
            self.code = code
            self.type = type
            self.state = state
            self.group = group
            self.initiator = initiator
            self.addressed = addressed
            self.counts = counts
            self.answeredLate = answeredLate
            self.createdAt = createdAt
            self.closedAt = closedAt
        }
    }

    /// The answer to `GET /activities/{activity}/executions`, by device.
    package struct ExecutionList: Codable, Hashable, Sendable {
        package var executions: [ExecutionView]
        package var next: String?

        package init(executions: [ExecutionView], next: String? = nil) {
            self.executions = executions
            self.next = next
        }
    }

    /// One operation on one device.
    package struct ExecutionView: Codable, Hashable, Sendable {
        package var execution: String
        package var device: String
        package var state: String
        package var version: Int32
        package var attempt: String?
        package var until: Int64?
        package var redeliveries: Int32
        package var updatedAt: Int64
        /// What the device said, where it is JSON.
        package var detail: JSONValue?
        package var detailBase64: String?
        /// What it said after the server had closed the execution.
        package var lateAnswer: JSONValue?
        package var lateAnswerBase64: String?

        package init(
            execution: String,
            device: String,
            state: String,
            version: Int32,
            attempt: String? = nil,
            until: Int64? = nil,
            redeliveries: Int32,
            updatedAt: Int64,
            detail: JSONValue? = nil,
            detailBase64: String? = nil,
            lateAnswer: JSONValue? = nil,
            lateAnswerBase64: String? = nil
        ) {
            self.execution = execution
            self.device = device
            self.state = state
            self.version = version
            self.attempt = attempt
            self.until = until
            self.redeliveries = redeliveries
            self.updatedAt = updatedAt
            self.detail = detail
            self.detailBase64 = detailBase64
            self.lateAnswer = lateAnswer
            self.lateAnswerBase64 = lateAnswerBase64
        }
    }
}
#endif
