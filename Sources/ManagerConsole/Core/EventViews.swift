#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import NotificationDispatch
internal import OperationQueue

extension AdminMessages.DeviceExecutionView {
    init(_ execution: DeviceExecution) {
        self.init(execution.operation, group: execution.group, execution: execution.execution)
    }

    /// Open work, with the row it has or would have.
    init(_ item: OpenItem, on device: DeviceRow) {
        var row =
            item.row
            ?? Execution(
                id: item.executionID(on: device),
                state: item.state,
                version: 0,
                updatedAt: item.operation.createdAt
            )
        row.state = item.state
        self.init(item.operation, group: nil, execution: row)
    }

    private init(_ operation: DeviceOperation, group: GroupID?, execution: Execution) {
        self.init(
            activity: operation.activity.description,
            number: operation.number,
            code: operation.code.rawValue,
            type: operation.type.rawValue,
            priority: operation.priority,
            group: group?.rawValue,
            createdAt: operation.createdAt.milliseconds,
            execution: AdminMessages.ExecutionView(execution)
        )
    }
}

extension AdminMessages.WebhookView {
    init(_ webhook: WebhookSubscription) {
        let progress = webhook.progress
        self.init(
            webhook: webhook.id.description,
            url: webhook.url,
            codes: webhook.filter.codes.map(\.rawValue).sorted(),
            activity: webhook.filter.activity?.description,
            device: webhook.filter.device?.rawValue,
            stateChangesOnly: webhook.filter.stateChangesOnly,
            state: webhook.state.name,
            createdAt: webhook.createdAt.milliseconds,
            cursor: progress.cursor.description,
            failures: progress.failures,
            due: progress.failures > 0 ? progress.due.milliseconds : nil,
            lastFailure: progress.lastFailure.isEmpty ? nil : progress.lastFailure
        )
    }
}

extension AdminMessages.DeadLetterView {
    init(_ letter: WebhookDeadLetter) {
        self.init(
            letter: letter.number,
            message: letter.message,
            events: letter.events,
            bytes: letter.body.count,
            failure: letter.failure,
            at: letter.at.milliseconds
        )
    }
}

extension HandlerRequest {
    /// All values of a query item, each one of a vocabulary.
    func queryCases<Value: Hashable>(
        _ name: String,
        of known: [String: Value]
    ) throws -> Set<Value> {
        Set(
            try query.values(name).map { text in
                guard let value = known[text] else {
                    throw HTTPHandlingError(
                        .invalidParameter,
                        "The query item \(name) is one of \(known.keys.sorted().joined(separator: ", "))."
                    )
                }
                return value
            }
        )
    }

    /// A query item as a time in milliseconds since 1970.
    func queryTime(_ name: String) throws -> Timestamp? {
        let range = 0...Int(Timestamp.distantFuture.milliseconds)
        return try query.integer(name, in: range).map { Timestamp(milliseconds: Int64($0)) }
    }

    /// All values of a query item, as names.
    func queryNames<Name: NameIdentifier>(_ name: String, as type: Name.Type) throws -> Set<Name> {
        Set(try query.values(name).map { try Name(validating: $0) })
    }

    /// A query item as a position in the events.
    func queryPosition(_ name: String) throws -> EventPosition? {
        try query[name].map { try EventPosition(parsing: $0) }
    }
}
#endif
