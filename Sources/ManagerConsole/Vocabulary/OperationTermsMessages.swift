#if Server
/// What an operation may ask beside its target and payload. All members are optional.
extension AdminMessages.OperationRequest {
    /// Which members of a group it is for.
    package enum Scope: String, Codable, Hashable, Sendable {
        case membersNow, membersAndJoiners, joinersOnly
    }

    /// When devices may be given it, by the wall clock of a zone.
    package struct Window: Codable, Hashable, Sendable {
        /// `monday` … `sunday`.
        package var days: [String]
        /// Minutes after local midnight.
        package var start: Int32
        /// Seconds.
        package var duration: Double
        /// An IANA name.
        package var zone: String
    }

    /// How long an execution may take, in seconds.
    package struct Timeouts: Codable, Hashable, Sendable {
        package var whole: Double?
        package var step: Double?
        package var cancellation: Double?
    }

    /// Hands a failed operation out again.
    package struct Retry: Codable, Hashable, Sendable {
        /// Which failures are repeated, where no `errors` are named.
        package enum Matching: String, Codable, Hashable, Sendable {
            case any, timeouts
        }

        package var count: Int32
        /// Seconds.
        package var backoff: Double?
        /// Seconds.
        package var longestBackoff: Double?
        package var matching: Matching?
        /// Error codes; one that ends in `*` is a beginning.
        package var errors: [String]?
    }

    /// What must have completed on a device first.
    package struct Dependency: Codable, Hashable, Sendable {
        package enum FailureRule: String, Codable, Hashable, Sendable {
            case stop, pause
        }

        package var activity: String
        package var onFailure: FailureRule?
    }

    /// Whether the device must ask its user first.
    package enum Confirmation: String, Codable, Hashable, Sendable {
        case notAsked, required
    }

    /// Whether an administrator must approve first.
    package enum Approval: String, Codable, Hashable, Sendable {
        case notNeeded, required
    }

    /// How it spreads over its devices: `waves` or `devicesPerMinute`.
    package struct Rollout: Codable, Hashable, Sendable {
        package struct Wave: Codable, Hashable, Sendable {
            /// Of all devices.
            package var percent: Double
            package var successPercent: Int32?
            /// Seconds.
            package var soak: Double?
        }

        package struct Failure: Codable, Hashable, Sendable {
            package enum Action: String, Codable, Hashable, Sendable {
                case pause, abort
            }

            package var percent: Int32
            package var minimum: Int32?
            package var action: Action?
        }

        package var waves: [Wave]?
        package var devicesPerMinute: Int32?
        package var failure: Failure?
    }
}

/// What administrators do to activities and executions.
extension AdminMessages {
    /// The body of `POST /activities/{activity}/release`.
    package struct ReleaseShareRequest: Codable, Hashable, Sendable {
        /// Of all devices.
        package var percent: Double
    }

    /// The body of `POST /activities/{activity}/executions/{device}/commands`.
    package struct CommandRequest: Codable, Hashable, Sendable {
        package enum Command: String, Codable, Hashable, Sendable {
            case cancel, confirm, redeliver
        }

        package var command: Command
        /// The version it must have, as it was read.
        package var version: Int32?
    }

    /// The answer to `POST /devices/{device}/cancel-operations`.
    package struct CancelledAnswer: Codable, Hashable, Sendable {
        /// Executions that were cancelled, or are asked of the device to be.
        package var cancelled: Int
    }

    /// The answer to `GET /activities/{activity}/executions/{device}/explanation`.
    package struct ExplanationAnswer: Codable, Hashable, Sendable {
        package struct Reason: Codable, Hashable, Sendable {
            /// The kind, such as `waits` or `offline`.
            package var reason: String
            /// In words.
            package var detail: String
            /// Until when it holds, if that is known; milliseconds since 1970.
            package var until: Int64?
        }

        package var execution: String
        package var state: String
        package var reasons: [Reason]
    }
}
#endif
