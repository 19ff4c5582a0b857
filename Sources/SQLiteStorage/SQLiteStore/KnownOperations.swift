#if SQLite
internal import ClusterRole
internal import OperationQueue
internal import SQLiteEngine

/// Operations a connection has read: rows that never change, and that thousands of devices ask for.
///
/// A purged operation may still be found here; its activity is not, so nothing is done with it.
final class KnownOperations {
    private final class Known {
        let record: OperationRecord
        /// The operation with its payload. `nil` until it is asked for, and with a long one.
        var complete: DeviceOperation?

        init(_ record: OperationRecord) { self.record = record }
    }

    /// 256: what is under way for a fleet at one time. When more are met, all are forgotten.
    static let capacity = 256
    /// 4 KiB: 1 MiB a connection at most. Longer payloads are read each time.
    static let maximumPayloadBytes = 4_096

    private var known: [Int64: Known] = [:]
    private var numbers: [OperationID: Int64] = [:]

    func record(_ number: Int64) -> OperationRecord? { known[number]?.record }

    func record(_ id: OperationID) -> OperationRecord? {
        numbers[id].flatMap { known[$0]?.record }
    }

    func complete(_ number: Int64) -> DeviceOperation? { known[number]?.complete }

    func add(_ record: OperationRecord) {
        if known.count >= Self.capacity {
            known = [:]
            numbers = [:]
        }
        known[record.operation.number] = Known(record)
        numbers[record.operation.id] = record.operation.number
    }

    func add(complete operation: DeviceOperation) {
        guard operation.payload.count <= Self.maximumPayloadBytes else { return }
        known[operation.number]?.complete = operation
    }
}

/// Activities as the writer has read or stored them last: each answer of a device counts in one.
final class KnownActivities {
    /// 256, like the operations. When more are met, all are forgotten.
    static let capacity = 256

    private var records: [Int64: ActivityRecord] = [:]

    subscript(number: Int64) -> ActivityRecord? {
        get { records[number] }
        set {
            if newValue != nil, records.count >= Self.capacity { records = [:] }
            records[number] = newValue
        }
    }
}

/// What the store remembers with a connection. It is forgotten when a transaction is taken back.
final class ConnectionMemory {
    let operations = KnownOperations()
    /// The writer's connection only, like what follows.
    let devices = KnownDevices()
    let groupWork = KnownGroupWork()
    let activities = KnownActivities()
    /// Whether some group has a polling frequency, if that is known.
    var hasGroupPolling: Bool?
}

extension SQLConnection {
    var remembered: ConnectionMemory {
        if let memory = memory as? ConnectionMemory { return memory }
        let made = ConnectionMemory()
        memory = made
        return made
    }

    private var knownOperations: KnownOperations { remembered.operations }

    /// `operation(_:)`, from memory if it is there. For the paths of devices.
    func knownOperation(_ number: Int64) throws -> OperationRecord? {
        let known = knownOperations
        if let record = known.record(number) { return record }
        guard let record = try operation(number) else { return nil }
        known.add(record)
        return record
    }

    /// `operation(_:)`, from memory if it is there.
    func knownOperation(_ id: OperationID) throws -> OperationRecord? {
        let known = knownOperations
        if let record = known.record(id) { return record }
        guard let record = try operation(id) else { return nil }
        known.add(record)
        return record
    }

    /// An operation that `knownOperation` has answered, with its payload.
    func knownOperation(withPayloadOf record: OperationRecord) throws -> DeviceOperation {
        let known = knownOperations
        if let complete = known.complete(record.operation.number) { return complete }
        var operation = record.operation
        operation.payload = try payload(operation.number)
        known.add(complete: operation)
        return operation
    }
}
#endif
