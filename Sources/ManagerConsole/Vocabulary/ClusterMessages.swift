#if Server
package import HTTPHandling
package import NotificationDispatch

/// Nodes, tasks and status.
extension AdminMessages {
    /// The answer to `GET /nodes`.
    package struct NodeList: Codable, Hashable, Sendable {
        package var nodes: [NodeView]

        package init(nodes: [NodeView]) {
            self.nodes = nodes
        }
    }

    /// A member of the cluster.
    package struct NodeView: Codable, Hashable, Sendable {
        package var node: String
        package var role: String
        package var domain: String
        package var address: String
        package var version: String
        package var state: String
        /// Whether it takes work: what it says itself or what was asked, whichever is stricter.
        package var mode: String?
        /// What an administrator asked of it.
        package var askedMode: String?
        package var properties: [String: String]
        /// The newest revision it has applied.
        package var applied: String?
        /// How many revisions it is behind, if it is in this history.
        package var lag: Int64?
        package var joinedAt: Int64
        package var lastHeard: Int64

        package init(
            node: String,
            role: String,
            domain: String,
            address: String,
            version: String,
            state: String,
            mode: String? = nil,
            askedMode: String? = nil,
            properties: [String: String],
            applied: String? = nil,
            lag: Int64? = nil,
            joinedAt: Int64,
            lastHeard: Int64
        ) {
            self.node = node
            self.role = role
            self.domain = domain
            self.address = address
            self.version = version
            self.state = state
            self.mode = mode
            self.askedMode = askedMode
            self.properties = properties
            self.applied = applied
            self.lag = lag
            self.joinedAt = joinedAt
            self.lastHeard = lastHeard
        }
    }

    /// The answer to `GET /tasks`.
    package struct TaskList: Codable, Hashable, Sendable {
        package var tasks: [TaskView]

        package init(tasks: [TaskView]) {
            self.tasks = tasks
        }
    }

    /// A periodic task.
    package struct TaskView: Codable, Hashable, Sendable {
        package var task: String
        package var group: String
        package var code: String
        package var payload: JSONValue?
        package var payloadBase64: String?
        /// Seconds.
        package var frequency: Double
        package var satisfiedBy: String?
        /// Seconds.
        package var freshness: Double?
        package var begins: Int64

        package init(
            task: String,
            group: String,
            code: String,
            payload: JSONValue? = nil,
            payloadBase64: String? = nil,
            frequency: Double,
            satisfiedBy: String? = nil,
            freshness: Double? = nil,
            begins: Int64
        ) {
            self.task = task
            self.group = group
            self.code = code
            self.payload = payload
            self.payloadBase64 = payloadBase64
            self.frequency = frequency
            self.satisfiedBy = satisfiedBy
            self.freshness = freshness
            self.begins = begins
        }
    }

    /// The body of `PUT /tasks/{task}`.
    package struct TaskRequest: Codable, Hashable, Sendable {
        package var group: String?
        package var code: String?
        package var payload: JSONValue?
        package var payloadBase64: String?
        /// Seconds.
        package var frequency: Double
        package var satisfiedBy: String?
        /// Seconds.
        package var freshness: Double?

        package init(
            group: String? = nil,
            code: String? = nil,
            payload: JSONValue? = nil,
            payloadBase64: String? = nil,
            frequency: Double,
            satisfiedBy: String? = nil,
            freshness: Double? = nil
        ) {
            self.group = group
            self.code = code
            self.payload = payload
            self.payloadBase64 = payloadBase64
            self.frequency = frequency
            self.satisfiedBy = satisfiedBy
            self.freshness = freshness
        }
    }

    /// The answer to `GET /status`.
    package struct StatusAnswer: Codable, Hashable, Sendable {
        package var node: String
        package var role: String
        package var epoch: Int64?
        package var revision: String
        package var devices: Int
        package var liveness: LivenessView?
        package var wakes: WakeCounters?
        package var audit: AuditStatus?
        package var certificate: ServedCertificate?
        package var nodes: [NodeStatus]

        package init(
            node: String,
            role: String,
            epoch: Int64? = nil,
            revision: String,
            devices: Int,
            liveness: LivenessView? = nil,
            wakes: WakeCounters? = nil,
            audit: AuditStatus? = nil,
            certificate: ServedCertificate? = nil,
            nodes: [NodeStatus]
        ) {
            self.node = node
            self.role = role
            self.epoch = epoch
            self.revision = revision
            self.devices = devices
            self.liveness = liveness
            self.wakes = wakes
            self.audit = audit
            self.certificate = certificate
            self.nodes = nodes
        }
    }

    /// A member, in short.
    package struct NodeStatus: Codable, Hashable, Sendable {
        package var node: String
        package var state: String
        package var applied: String?
        package var lag: Int64?

        package init(node: String, state: String, applied: String? = nil, lag: Int64? = nil) {
            self.node = node
            self.state = state
            self.applied = applied
            self.lag = lag
        }
    }
}
#endif
