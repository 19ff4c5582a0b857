internal import ClusterRole
internal import DeviceRegistry

/// An event in JSON: what the admin API lists and webhooks carry.
package struct EventMessage: Codable, Hashable, Sendable {
    /// Unique, and the same however often it is told: `history:number:index`. A position as well.
    package var id: String
    /// `activity` or `execution`.
    package var type: String
    package var tenant: String
    package var activity: String
    /// The number of the activity's operation.
    package var number: Int64
    package var code: String
    /// Milliseconds since 1970.
    package var at: Int64
    /// The state before; not there if nothing was before.
    package var from: String?
    package var to: String
    /// The device, of an execution.
    package var device: String?
    /// The row's version afterwards, of an execution.
    package var version: Int32?

    package init(_ event: OperationEvent) {
        id = event.position.description
        tenant = event.tenant.rawValue
        activity = event.activity.description
        number = event.number
        code = event.code.rawValue
        at = event.at.milliseconds
        switch event.change {
        case .activity(let old, let new):
            type = "activity"
            from = old.map { String(describing: $0) }
            to = String(describing: new)
        case .execution(let id, let old, let new, let row):
            type = "execution"
            from = old?.name
            to = new.name
            device = id.rawValue
            version = row
        }
    }
}
