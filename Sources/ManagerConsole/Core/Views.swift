#if Server
internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import OperationQueue

// How the vocabulary of the core modules is shown.

extension AdminMessages.DeviceView {
    init(_ device: Device, liveness: Liveness) {
        self.init(
            id: device.id.rawValue,
            state: device.row.state == .enrolled ? "enrolled" : "removed",
            liveness: liveness.rawValue,
            pollingFrequency: device.row.pollingFrequency?.inSeconds,
            enrolledAt: device.enrolledAt.milliseconds,
            removedAt: device.removedAt?.milliseconds,
            lastSeen: device.lastSeen?.milliseconds,
            pushTransport: device.push?.transport,
            owner: device.owner?.rawValue
        )
    }
}

extension AdminMessages.InformationView {
    init(_ information: DeviceInformation) {
        // A driver's bytes were JSON when they came in; what no longer is one is shown as text.
        let json = try? JSONValue(parsing: information.body)
        self.init(
            receivedAt: information.receivedAt.milliseconds,
            body: json ?? .string(String(decoding: information.body, as: UTF8.self))
        )
    }
}

extension AdminMessages.ActivityView {
    init(_ activity: Activity) {
        let counts = activity.counts
        var shown: [String: Int] = [:]
        for state in ExecutionState.allCases where counts[state] != 0 {
            shown[state.name] = counts[state]
        }
        self.init(
            id: activity.id.description,
            number: activity.operation.number,
            code: activity.operation.code.rawValue,
            type: activity.operation.type.rawValue,
            state: String(describing: activity.state),
            group: activity.group?.rawValue,
            initiator: activity.initiator,
            addressed: activity.addressed,
            counts: shown,
            answeredLate: activity.answeredLate,
            createdAt: activity.operation.createdAt.milliseconds,
            closedAt: activity.closedAt?.milliseconds
        )
        if activity.gate.hold != .none { hold = String(describing: activity.gate.hold) }
        if activity.gate.ceiling < RolloutPlan.everyone {
            releasedPercent = Double(activity.gate.ceiling) / 100
        }
        if !activity.decidedBy.isEmpty { decidedBy = activity.decidedBy }
    }
}

extension AdminMessages.ExecutionView {
    init(_ execution: Execution) {
        let detail = ShownBytes(execution.detail)
        let late = ShownBytes(execution.lateAnswer ?? [])
        self.init(
            execution: execution.id.description,
            device: execution.id.device.rawValue,
            state: execution.state.name,
            version: execution.version,
            attempt: execution.attempt?.description,
            until: execution.until?.milliseconds,
            redeliveries: execution.redeliveries,
            updatedAt: execution.updatedAt.milliseconds,
            detail: detail.json,
            detailBase64: detail.base64,
            lateAnswer: late.json,
            lateAnswerBase64: late.base64
        )
    }
}

extension AdminMessages.TaskView {
    init(_ task: PeriodicTask) {
        let payload = ShownBytes(task.payload)
        self.init(
            task: task.id.rawValue,
            group: task.group.rawValue,
            code: task.code.rawValue,
            payload: payload.json,
            payloadBase64: payload.base64,
            frequency: task.frequency.inSeconds,
            satisfiedBy: task.satisfiedBy?.rawValue,
            freshness: task.freshness?.inSeconds,
            begins: task.begins.milliseconds
        )
    }
}

extension Member {
    /// How many revisions it is behind `newest`; `nil` if it has applied none of this history.
    func lag(behind newest: Revision) -> Int64? {
        guard let applied, applied.history == newest.history else { return nil }
        return max(0, newest.number - applied.number)
    }
}

extension AdminMessages.NodeView {
    init(_ member: Member, newest: Revision) {
        self.init(
            node: member.node.rawValue,
            role: member.role.rawValue,
            domain: member.domain.description,
            address: member.address,
            version: member.version,
            state: member.state.rawValue,
            mode: member.effectiveMode.rawValue,
            askedMode: member.askedMode.rawValue,
            properties: member.properties,
            applied: member.applied?.description,
            lag: member.lag(behind: newest),
            joinedAt: member.joinedAt.milliseconds,
            lastHeard: member.lastHeard.milliseconds
        )
    }
}

extension AdminMessages.NodeStatus {
    init(_ member: Member, newest: Revision) {
        self.init(
            node: member.node.rawValue,
            state: member.state.rawValue,
            applied: member.applied?.description,
            lag: member.lag(behind: newest)
        )
    }
}

extension AdminMessages.ReleaseView {
    init(_ release: Release) {
        self.init(
            number: release.number.rawValue,
            root: release.root.description,
            kind: release.kind.rawValue,
            files: release.fileCount,
            bytes: release.totalBytes,
            createdAt: release.created.milliseconds,
            expiresAt: release.expires?.milliseconds,
            previousRoot: release.previousRoot?.description
        )
        let needs = release.requirements
        if !release.dependencies.isEmpty {
            dependencies = release.dependencies.map {
                .init(channel: $0.channel.rawValue, atLeast: $0.lowest.rawValue)
            }
        }
        if !needs.capabilities.isEmpty { capabilities = needs.capabilities.map(\.rawValue) }
        softwareVersion = needs.softwareVersion?.description
        publisher = release.publisher?.rawValue
    }
}

extension AdminMessages.AcknowledgementView {
    init(_ word: AppliedRelease) {
        self.init(
            node: word.node.rawValue,
            number: word.number.rawValue,
            root: word.root.description,
            state: word.state.rawValue,
            errorCode: word.errorCode,
            errorMessage: word.errorMessage,
            at: word.at.milliseconds
        )
    }
}

extension AdminMessages.PublishAnswer {
    init(_ publication: Publication) {
        let release = publication.release.release
        let published = publication.release.published
        self.init(
            number: release.number.rawValue,
            root: release.root.description,
            files: publication.fileCount,
            bytes: publication.totalBytes,
            fullBundleBytes: published.bundle(from: nil)?.byteCount ?? 0,
            incrementalBundleBytes: publication.bundles.first { $0.from != nil }?.byteCount,
            repeated: publication.outcome == .unchanged
        )
    }
}
#endif
