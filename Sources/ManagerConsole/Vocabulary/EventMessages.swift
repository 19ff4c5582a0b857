#if Server
package import OperationQueue

/// Events, webhooks and a device's work.
extension AdminMessages {
    /// The answer to `GET /events`, oldest first.
    package struct EventList: Codable, Hashable, Sendable {
        package var events: [EventMessage]
        /// Pass it as `after`, now or later. There is one on every page.
        package var next: String
        /// Whether nothing had happened behind it.
        package var last: Bool

        package init(events: [EventMessage], next: String, last: Bool) {
            self.events = events
            self.next = next
            self.last = last
        }
    }

    /// One operation on one device, with what was asked.
    package struct DeviceExecutionView: Codable, Hashable, Sendable {
        package var activity: String
        package var number: Int64
        package var code: String
        package var type: String
        package var priority: Int32
        package var group: String?
        package var createdAt: Int64
        package var execution: ExecutionView

        package init(
            activity: String,
            number: Int64,
            code: String,
            type: String,
            priority: Int32,
            group: String? = nil,
            createdAt: Int64,
            execution: ExecutionView
        ) {
            self.activity = activity
            self.number = number
            self.code = code
            self.type = type
            self.priority = priority
            self.group = group
            self.createdAt = createdAt
            self.execution = execution
        }
    }

    /// The answer to `GET /devices/{device}/executions`, newest first.
    package struct DeviceExecutionList: Codable, Hashable, Sendable {
        package var executions: [DeviceExecutionView]
        package var next: String?

        package init(executions: [DeviceExecutionView], next: String? = nil) {
            self.executions = executions
            self.next = next
        }
    }

    /// The answer to `GET /devices/{device}/pending`, in the order in which work is offered.
    package struct PendingList: Codable, Hashable, Sendable {
        package var executions: [DeviceExecutionView]
        /// The revision it is true of.
        package var revision: String

        package init(executions: [DeviceExecutionView], revision: String) {
            self.executions = executions
            self.revision = revision
        }
    }

    /// The body of `POST /webhooks`.
    package struct WebhookRequest: Codable, Hashable, Sendable {
        package var url: String
        package var codes: [String]?
        package var activity: String?
        package var device: String?
        package var stateChangesOnly: Bool?
        /// A position; events after it are sent. Those from now on unless said.
        package var after: String?

        package init(
            url: String,
            codes: [String]? = nil,
            activity: String? = nil,
            device: String? = nil,
            stateChangesOnly: Bool? = nil,
            after: String? = nil
        ) {
            self.url = url
            self.codes = codes
            self.activity = activity
            self.device = device
            self.stateChangesOnly = stateChangesOnly
            self.after = after
        }
    }

    /// A subscription and how far it is.
    package struct WebhookView: Codable, Hashable, Sendable {
        package var webhook: String
        package var url: String
        package var codes: [String]
        package var activity: String?
        package var device: String?
        package var stateChangesOnly: Bool
        package var state: String
        package var createdAt: Int64
        /// Everything up to here was delivered, given up, or not wanted.
        package var cursor: String
        /// How often the batch under way failed.
        package var failures: Int32
        /// When it is tried again.
        package var due: Int64?
        package var lastFailure: String?

        package init(
            webhook: String,
            url: String,
            codes: [String],
            activity: String? = nil,
            device: String? = nil,
            stateChangesOnly: Bool,
            state: String,
            createdAt: Int64,
            cursor: String,
            failures: Int32,
            due: Int64? = nil,
            lastFailure: String? = nil
        ) {
            self.webhook = webhook
            self.url = url
            self.codes = codes
            self.activity = activity
            self.device = device
            self.stateChangesOnly = stateChangesOnly
            self.state = state
            self.createdAt = createdAt
            self.cursor = cursor
            self.failures = failures
            self.due = due
            self.lastFailure = lastFailure
        }
    }

    /// The answer to `GET /webhooks`.
    package struct WebhookList: Codable, Hashable, Sendable {
        package var webhooks: [WebhookView]

        package init(webhooks: [WebhookView]) { self.webhooks = webhooks }
    }

    /// The answer to `POST /webhooks`.
    package struct WebhookAnswer: Codable, Hashable, Sendable {
        package var webhook: WebhookView
        /// What signatures are checked with. It is shown here and never again.
        package var secret: String

        package init(webhook: WebhookView, secret: String) {
            self.webhook = webhook
            self.secret = secret
        }
    }

    /// A batch that was given up.
    package struct DeadLetterView: Codable, Hashable, Sendable {
        package var letter: Int64
        /// Its `webhook-id`.
        package var message: String
        package var events: Int
        package var bytes: Int
        package var failure: String
        package var at: Int64

        package init(
            letter: Int64,
            message: String,
            events: Int,
            bytes: Int,
            failure: String,
            at: Int64
        ) {
            self.letter = letter
            self.message = message
            self.events = events
            self.bytes = bytes
            self.failure = failure
            self.at = at
        }
    }

    /// The answer to `GET /webhooks/{webhook}/dead-letters`, oldest first.
    package struct DeadLetterList: Codable, Hashable, Sendable {
        package var deadLetters: [DeadLetterView]
        package var next: String?

        package init(deadLetters: [DeadLetterView], next: String? = nil) {
            self.deadLetters = deadLetters
            self.next = next
        }
    }
}
#endif
