public import ClusterRole
public import DeviceRegistry
internal import Metrics

extension CompliancePolicy {
    /// How a device stands after a report: pure.
    ///
    /// A device complies if it says so of this version. One that goes on violating keeps its tries and
    /// the time of the next; one that was given up stays so until it complies or the policy changes.
    ///
    /// - Parameters:
    ///   - report: what it said.
    ///   - device: who said it.
    ///   - known: how it stood; `nil` if it had not reported.
    ///   - received: when a worker received the report.
    /// - Returns: `nil` if a newer report is known.
    public func standing(
        after report: ComplianceReport,
        of device: DeviceID,
        known: DeviceCompliance?,
        receivedAt received: Timestamp
    ) -> DeviceCompliance? {
        if let known, known.reportedAt > received { return nil }
        var result = DeviceCompliance(
            device: device,
            state: report.isCompliant && report.version == version ? .compliant : .violating,
            since: received,
            reportedAt: received,
            version: report.version,
            violations: report.violations
        )
        if let known, (known.state == .compliant) == (result.state == .compliant) {
            result.since = known.since
            result.state = known.state
            result.tries = known.tries
            result.next = known.next
        } else if result.state == .violating {
            // What is out of date gets the time of one wait to take the version that is on its way.
            result.next = report.version == version ? received : received + backoff
        }
        return result
    }

    /// How a violating device stands once the policy was re-applied to it: the wait grows twofold,
    /// and after ``maximumTries`` it is given up at the end of the last wait.
    public func standing(
        afterReapplying known: DeviceCompliance,
        at now: Timestamp
    ) -> DeviceCompliance {
        var result = known
        if known.tries >= maximumTries {
            result.state = .givenUp
            result.next = nil
            return result
        }
        result.tries += 1
        result.next = now + wait(afterTry: result.tries)
        return result
    }

    private func wait(afterTry number: Int32) -> Duration {
        let doubled = backoff.milliseconds << Int64(min(20, max(0, number - 1)))
        return .milliseconds(min(longestBackoff.milliseconds, doubled))
    }

    /// The task that asks devices whose report is older than ``monitoring``.
    package func task(beginning now: Timestamp) -> PeriodicTask {
        PeriodicTask(
            id: PeriodicTaskID(rawValue: "policy.\(id)"),
            group: group,
            code: .complianceReport,
            payload: Array("{\"policy\":\(quoted(id.rawValue))}".utf8),
            frequency: monitoring,
            satisfiedBy: .compliance(with: id),
            begins: now
        )
    }

    /// A name in JSON. Names hold no control characters.
    private func quoted(_ name: String) -> String {
        var text = "\""
        for character in name {
            if character == "\"" || character == "\\" { text.append("\\") }
            text.append(character)
        }
        return text + "\""
    }
}

extension InformationKind {
    /// What satisfies the task that asks about one policy: a report on that one.
    package static func compliance(with policy: PolicyID) -> InformationKind {
        InformationKind(rawValue: "\(compliance.rawValue)/\(policy)")
    }
}

extension DeviceInformation {
    /// What a driver is about to apply; empty if this is no compliance report. A document of a shape
    /// nobody knows is counted, and kept as JSON only.
    package var complianceReports: [ComplianceReport] {
        guard kind == .compliance else { return [] }
        do {
            return try ComplianceReport.reports(in: body)
        } catch {
            Counter(
                label: "reeve_compliance_reports_refused_total",
                dimensions: [("code", error.codeName)]
            ).increment()
            return []
        }
    }

    /// The same time under the kind that satisfies the tasks about one policy.
    package func about(_ policy: PolicyID) -> DeviceInformation {
        DeviceInformation(kind: .compliance(with: policy), body: [], receivedAt: receivedAt)
    }
}
