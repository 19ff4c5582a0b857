package import ClusterRole
internal import DeviceRegistry

/// The binary form of a revision's transitions (`ChangeNote`): a version byte, the time of the write, the
/// operations they are about, then the transitions, each with the index of its operation.
///
/// It says all an event says, so that an event is read without any other row, and is there as long as the
/// log reaches back, whatever has been purged meanwhile. One answer of one device takes about 60 bytes.
package enum TransitionCoding {
    static let version: UInt8 = 1

    private static let activityKind: UInt8 = 1
    private static let executionKind: UInt8 = 2

    package static func encode(_ transitions: [OperationTransition], at time: Timestamp)
        -> ChangeNote
    {
        var indexes: [Int64: Int] = [:]
        var operations: [OperationTransition] = []
        if transitions.count == 1 {
            // Most revisions have one, which no table is made for.
            operations = transitions
        } else {
            for transition in transitions where indexes[transition.number] == nil {
                indexes[transition.number] = operations.count
                operations.append(transition)
            }
        }
        var writer = ByteWriter(capacity: 16 + operations.count * 48 + transitions.count * 32)
        writer.write(version)
        writer.write(time)
        writer.writeVariable(UInt64(operations.count))
        for operation in operations {
            writer.write(operation.tenant)
            writer.write(operation.number)
            writer.write(operation.activity)
            writer.write(operation.code)
        }
        writer.writeVariable(UInt64(transitions.count))
        for transition in transitions {
            writer.writeVariable(UInt64(indexes[transition.number] ?? 0))
            writer.write(time.rawValue &- transition.at.rawValue)
            switch transition.change {
            case .activity(let from, let to):
                writer.write(activityKind)
                writer.write(optional: from) { $0.write($1.rawValue) }
                writer.write(to.rawValue)
            case .execution(let device, let from, let to, let version):
                writer.write(executionKind)
                writer.write(optional: from) { $0.write($1.rawValue) }
                writer.write(to.rawValue)
                writer.write(device)
                writer.writeVariable(UInt64(max(0, version)))
            }
        }
        return ChangeNote(bytes: writer.bytes)
    }

    /// When the revision with this note was written, by the writer's clock.
    package static func time(of note: ChangeNote) throws(ClusterRoleError) -> Timestamp {
        var reader = ByteReader(note.bytes)
        try reader.expectVersion(version, of: "the transitions of a revision")
        return try reader.readTimestamp()
    }

    package static func decode(_ note: ChangeNote) throws(ClusterRoleError)
        -> [OperationTransition]
    {
        var reader = ByteReader(note.bytes)
        try reader.expectVersion(version, of: "the transitions of a revision")
        let time = try reader.readTimestamp()
        let operations = try reader.readArray(elementSize: 20, operation)
        let transitions = try reader.readArray(elementSize: 5) {
            (reader) throws(ClusterRoleError) in
            let index = try reader.readVariable()
            guard index < UInt64(operations.count) else { throw reader.refused("operation") }
            var transition = operations[Int(index)]
            let age = try reader.readInt64()
            transition.at = Timestamp(rawValue: time.rawValue &- age)
            transition.change = try change(&reader)
            return transition
        }
        try reader.expectEnd()
        return transitions
    }

    /// An operation, as a transition whose change is still to be read.
    private static func operation(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> OperationTransition {
        let tenant: TenantID = try reader.readName()
        let number = try reader.readNumber()
        return OperationTransition(
            tenant: tenant,
            activity: try reader.readIdentifier(),
            number: number,
            code: try reader.readName(),
            at: .distantPast,
            change: .activity(from: nil, to: .open)
        )
    }

    private static func change(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> OperationEvent.Change {
        switch try reader.readByte() {
        case activityKind:
            let from: ActivityState? = try reader.readOptional { reader throws(ClusterRoleError) in
                try reader.readCase(of: "activity state")
            }
            return .activity(from: from, to: try reader.readCase(of: "activity state"))
        case executionKind:
            let from: ExecutionState? = try reader.readOptional { reader throws(ClusterRoleError) in
                try reader.readCase(of: "execution state")
            }
            let to: ExecutionState = try reader.readCase(of: "execution state")
            let device: DeviceID = try reader.readName()
            guard let version = Int32(exactly: try reader.readVariable()) else {
                throw reader.refused("version")
            }
            return .execution(device: device, from: from, to: to, version: version)
        default: throw reader.refused("kind of transition")
        }
    }
}
