#if Server
internal import ClusterMembership
internal import ClusterRole

/// What concerns one node.
extension AdminMessages {
    /// The body of `PUT /nodes/{node}/mode`.
    package struct NodeModeRequest: Codable, Hashable, Sendable {
        /// `active`, `draining` or `maintenance`.
        package var mode: String

        package init(mode: String) {
            self.mode = mode
        }
    }

    /// The answer to `POST /nodes/{node}/probe`.
    package struct ProbeView: Codable, Hashable, Sendable {
        package var node: String
        /// How it stood when it was asked for.
        package var state: String
        /// Whether it answered in some way.
        package var isThere: Bool
        package var answers: [ProbeAnswerView]
    }

    /// What came of one way of asking.
    package struct ProbeAnswerView: Codable, Hashable, Sendable {
        /// `link`, `direct`, or `through:` and the manager that was asked.
        package var way: String
        /// `answered`, `silent`, `failed` or `not-tried`.
        package var outcome: String
        /// Why it failed or was not tried.
        package var reason: String?
    }
}

extension AdminMessages.ProbeView {
    init(_ report: ProbeReport) {
        node = report.node.rawValue
        state = report.state.rawValue
        isThere = report.isThere
        answers = report.answers.map { AdminMessages.ProbeAnswerView($0) }
    }
}

extension AdminMessages.ProbeAnswerView {
    init(_ answer: ProbeReport.Answer) {
        way =
            switch answer.way {
            case .link: "link"
            case .direct: "direct"
            case .through(let manager): "through:\(manager)"
            }
        switch answer.outcome {
        case .answered: (outcome, reason) = ("answered", nil)
        case .silent: (outcome, reason) = ("silent", nil)
        case .failed(let why): (outcome, reason) = ("failed", why)
        case .notTried(let why): (outcome, reason) = ("not-tried", why)
        }
    }
}
#endif
