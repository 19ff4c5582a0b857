#if SQLite
internal import ClusterRole
internal import OperationQueue
internal import SQLiteEngine

/// Operations a connection has read: rows that never change, and that thousands of devices ask for.
///
/// A purged operation may still be found here; its activity is not, so nothing is done with it.
final class KnownOperations {
    private struct Known {
        var record: OperationRecord
        /// `nil` until it is asked for, and for a long one.
        var payload: [UInt8]?
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

    func payload(_ number: Int64) -> [UInt8]? { known[number]?.payload }

    func add(_ record: OperationRecord) {
        if known.count >= Self.capacity {
            known = [:]
            numbers = [:]
        }
        known[record.operation.number] = Known(record: record)
        numbers[record.operation.id] = record.operation.number
    }

    func add(payload: [UInt8], of number: Int64) {
        if payload.count <= Self.maximumPayloadBytes { known[number]?.payload = payload }
    }
}

extension SQLConnection {
    private var knownOperations: KnownOperations {
        if let known = memory as? KnownOperations { return known }
        let made = KnownOperations()
        memory = made
        return made
    }

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

    /// The payload of an operation that `knownOperation` has answered.
    func knownPayload(_ number: Int64) throws -> [UInt8] {
        let known = knownOperations
        if let payload = known.payload(number) { return payload }
        let payload = try payload(number)
        known.add(payload: payload, of: number)
        return payload
    }
}
#endif
