public import ClusterRole
public import DeviceRegistry

/// One transition of an activity or of an execution, as the revision log has it.
///
/// Events are read from the log of revisions, so there is one for each transition that was committed and
/// none for one that was not, in the order of commits. An activity closed as a whole is one event: what
/// it means for each execution follows from ``ActivityState/effective(_:)``.
public struct OperationEvent: Hashable, Sendable {
    /// What moved.
    public enum Change: Hashable, Sendable {
        /// An activity was opened (`from` is `nil`) or changed its state.
        case activity(from: ActivityState?, to: ActivityState)
        /// A row of an execution was made (`from` is `nil`) or changed. The states are those of the row;
        /// they are equal where the row changed and its state did not: a progress note, a repeated
        /// delivery, a late answer. `version` is the row's afterwards and grows by one each time.
        case execution(
            device: DeviceID,
            from: ExecutionState?,
            to: ExecutionState,
            version: Int32
        )
    }

    /// Where it stands in the log; unique, and the same whoever reads it and however often.
    public var position: EventPosition
    public var tenant: TenantID
    public var activity: ActivityID
    /// The number of the activity's operation.
    public var number: Int64
    public var code: OperationCode
    /// When it happened: for an answer, when a worker received it.
    public var at: Timestamp
    public var change: Change

    public init(
        position: EventPosition,
        tenant: TenantID,
        activity: ActivityID,
        number: Int64,
        code: OperationCode,
        at: Timestamp,
        change: Change
    ) {
        self.position = position
        self.tenant = tenant
        self.activity = activity
        self.number = number
        self.code = code
        self.at = at
        self.change = change
    }

    /// The device, of an execution's event.
    public var device: DeviceID? {
        if case .execution(let device, _, _, _) = change { device } else { nil }
    }

    /// Whether the state is another than before. Notes, repeated deliveries and late answers are not.
    public var changesState: Bool {
        switch change {
        case .activity(let from, let to): from != to
        case .execution(_, let from, let to, _): from != to
        }
    }
}

/// A place in the log of events: everything up to and including it has been seen.
///
/// Its text form is `history:number` for a whole revision, `history:number:index` within one; both are
/// opaque to clients, who send back what they were given.
public struct EventPosition: Hashable, Sendable, CustomStringConvertible {
    public var revision: Revision
    /// The event's index in its revision, from 0; `nil` for "all events of the revision".
    public var index: Int?

    /// - Parameters:
    ///   - revision: the revision.
    ///   - index: which of its events; `nil` stands behind the last one.
    public init(_ revision: Revision, index: Int? = nil) {
        self.revision = revision
        self.index = index
    }

    public var description: String {
        index.map { "\(revision):\($0)" } ?? revision.description
    }

    /// Parses what ``description`` wrote.
    ///
    /// - Throws: `ClusterRoleError` with code `invalidIdentifier` for anything else.
    public init(parsing text: String) throws(ClusterRoleError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3 else {
            self.init(try Revision(parsing: text))
            return
        }
        guard let index = Int(parts[2]), index >= 0 else {
            throw ClusterRoleError(
                .invalidIdentifier,
                "A position in the events is written history:number:index."
            )
        }
        self.init(try Revision(parsing: "\(parts[0]):\(parts[1])"), index: index)
    }

    /// The revision after which the log is read to go on from here.
    var readAfter: Revision {
        guard index != nil else { return revision }
        return Revision(history: revision.history, number: max(0, revision.number - 1))
    }

    /// Whether `event`, of this history, comes behind this place.
    func precedes(_ event: OperationEvent) -> Bool {
        let place = event.position
        if place.revision.number != revision.number {
            return place.revision.number > revision.number
        }
        guard let index else { return false }
        return (place.index ?? 0) > index
    }
}

/// Which events are wanted. Every condition that is set must hold.
public struct EventFilter: Hashable, Sendable {
    /// Operations of these codes; empty for all.
    public var codes: Set<OperationCode>
    /// One activity's only.
    public var activity: ActivityID?
    /// One device's only, which leaves out the events of activities.
    public var device: DeviceID?
    /// Whether changes that keep the state are left out (``OperationEvent/changesState``).
    public var stateChangesOnly: Bool

    /// Every event, unless said otherwise.
    public init(
        codes: Set<OperationCode> = [],
        activity: ActivityID? = nil,
        device: DeviceID? = nil,
        stateChangesOnly: Bool = false
    ) {
        self.codes = codes
        self.activity = activity
        self.device = device
        self.stateChangesOnly = stateChangesOnly
    }

    /// Every event.
    public static let everything = EventFilter()

    /// Whether `event` is wanted.
    public func matches(_ event: OperationEvent) -> Bool {
        if !codes.isEmpty && !codes.contains(event.code) { return false }
        if let activity, event.activity != activity { return false }
        if let device, event.device != device { return false }
        return !stateChangesOnly || event.changesState
    }
}
