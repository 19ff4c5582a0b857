package import ClusterRole
package import DeviceRegistry

// The fields that the binary formats of this module share. Times are whole milliseconds; what lies
// outside 1970…9999 is refused, so that later arithmetic cannot overflow.

extension ByteWriter {
    package mutating func write(_ time: Timestamp) { write(time.rawValue) }

    package mutating func write(_ name: some NameIdentifier) { write(name.rawValue) }

    package mutating func write(_ id: some RandomIdentifier) { write(id.bits) }

    /// Whole milliseconds; what is finer is cut off.
    package mutating func write(_ duration: Duration) { write(duration.milliseconds) }

    package mutating func write(_ row: DeviceRow) {
        write(row.tenant)
        write(row.id)
        write(row.incarnation)
        write(row.state.rawValue)
        write(row.credential.high)
        write(row.credential.low)
        write(optional: row.pollingFrequency) { $0.write($1) }
    }

    package mutating func write(_ membership: Membership) {
        write(membership.group)
        write(membership.device)
        write(membership.incarnation)
        write(membership.joined)
        write(optional: membership.left) { $0.write($1) }
    }

    package mutating func write(_ operation: DeviceOperation) {
        write(operation.id)
        write(operation.activity)
        write(operation.number)
        write(operation.code)
        write(operation.type.rawValue)
        write(operation.payload)
        write(Int64(operation.priority))
        write(operation.order.rawValue)
        write(optional: operation.expiresAt) { $0.write($1) }
        write(operation.deliveryLease)
        write(operation.createdAt)
        write(operation.terms.encoded)
    }

    package mutating func write(_ execution: Execution) {
        write(execution.id.operation)
        write(execution.id.incarnation)
        write(execution.id.device)
        write(execution.state.rawValue)
        write(Int64(execution.version))
        write(optional: execution.attempt) { $0.write($1) }
        write(optional: execution.until) { $0.write($1) }
        write(Int64(execution.redeliveries))
        write(Int64(execution.retries))
        write(Int64(execution.deferrals))
        write(optional: execution.startedAt) { $0.write($1) }
        write(optional: execution.confirmedAt) { $0.write($1) }
        write(execution.updatedAt)
        write(execution.detail)
        write(optional: execution.lateAnswer) { $0.write($1) }
    }

    package mutating func write(_ mark: SpoolMark) {
        write(mark.node)
        write(mark.incarnation)
        write(mark.number)
    }

    package mutating func write(_ revision: Revision) {
        write(revision.history)
        write(revision.number)
    }
}

/// The versions of the form of replica rows that are still read.
package enum RowFormat: UInt8 {
    /// Without terms, gates and retries.
    case first = 1
    case second = 2
}

extension ByteReader {
    /// An error about a value that no version of the format allows.
    package func refused(_ what: String) -> ClusterRoleError {
        ClusterRoleError(
            .malformed,
            "The data is damaged or of an unknown version (\(what) before byte \(consumed))."
        )
    }

    package mutating func readTimestamp() throws(ClusterRoleError) -> Timestamp {
        let time = Timestamp(rawValue: try readInt64())
        guard time >= .distantPast, time <= .distantFuture else { throw refused("time") }
        return time
    }

    /// A name that is not empty. Whether it is a good name was decided where it entered.
    package mutating func readName<Name: NameIdentifier>() throws(ClusterRoleError) -> Name {
        let text = try readString()
        guard !text.isEmpty, text.utf8.count <= maximumNameLength else { throw refused("name") }
        return Name(rawValue: text)
    }

    package mutating func readIdentifier<ID: RandomIdentifier>() throws(ClusterRoleError) -> ID {
        ID(bits: try readUInt128())
    }

    /// A number of a revision, an operation or a spool entry: not negative.
    package mutating func readNumber() throws(ClusterRoleError) -> Int64 {
        let number = try readInt64()
        guard number >= 0 else { throw refused("number") }
        return number
    }

    package mutating func readInt32() throws(ClusterRoleError) -> Int32 {
        guard let value = Int32(exactly: try readInt64()) else { throw refused("integer") }
        return value
    }

    package mutating func readDuration() throws(ClusterRoleError) -> Duration {
        .milliseconds(try readInt64())
    }

    package mutating func readCase<Value: RawRepresentable<UInt8>>(
        of noun: String
    ) throws(ClusterRoleError) -> Value {
        guard let value = Value(rawValue: try readByte()) else { throw refused(noun) }
        return value
    }

    package mutating func readDeviceRow() throws(ClusterRoleError) -> DeviceRow {
        DeviceRow(
            tenant: try readName(),
            id: try readName(),
            incarnation: try readIdentifier(),
            state: try readCase(of: "enrolment state"),
            credential: CredentialDigest(high: try readUInt128(), low: try readUInt128()),
            pollingFrequency: try readOptional { reader throws(ClusterRoleError) in
                try reader.readDuration()
            }
        )
    }

    package mutating func readMembership() throws(ClusterRoleError) -> Membership {
        Membership(
            group: try readName(),
            device: try readName(),
            incarnation: try readIdentifier(),
            joined: try readNumber(),
            left: try readOptional { reader throws(ClusterRoleError) in try reader.readNumber() }
        )
    }

    package mutating func readOperation(_ format: RowFormat) throws(ClusterRoleError)
        -> DeviceOperation
    {
        let id: OperationID = try readIdentifier()
        let activity: ActivityID = try readIdentifier()
        let number = try readNumber()
        let code: OperationCode = try readName()
        guard let type = OperationType(rawValue: try readString()) else {
            throw refused("operation type")
        }
        return DeviceOperation(
            id: id,
            activity: activity,
            number: number,
            code: code,
            type: type,
            payload: try readBytes(),
            priority: try readInt32(),
            order: try readCase(of: "order"),
            expiresAt: try readOptional { reader throws(ClusterRoleError) in
                try reader.readTimestamp()
            },
            deliveryLease: try readDuration(),
            createdAt: try readTimestamp(),
            terms: format == .first ? .standard : try OperationTerms(encoded: try readBytes())
        )
    }

    package mutating func readExecution(_ format: RowFormat) throws(ClusterRoleError) -> Execution {
        Execution(
            id: ExecutionID(
                operation: try readIdentifier(),
                incarnation: try readIdentifier(),
                device: try readName()
            ),
            state: try readCase(of: "execution state"),
            version: try readInt32(),
            attempt: try readOptional { reader throws(ClusterRoleError) in
                try reader.readIdentifier()
            },
            until: try readOptional { reader throws(ClusterRoleError) in
                try reader.readTimestamp()
            },
            redeliveries: try readInt32(),
            retries: format == .first ? 0 : try readInt32(),
            deferrals: format == .first ? 0 : try readInt32(),
            startedAt: format == .first
                ? nil
                : try readOptional { reader throws(ClusterRoleError) in
                    try reader.readTimestamp()
                },
            confirmedAt: format == .first
                ? nil
                : try readOptional { reader throws(ClusterRoleError) in
                    try reader.readTimestamp()
                },
            updatedAt: try readTimestamp(),
            detail: try readBytes(),
            lateAnswer: try readOptional { reader throws(ClusterRoleError) in
                try reader.readBytes()
            }
        )
    }

    package mutating func readMark() throws(ClusterRoleError) -> SpoolMark {
        SpoolMark(
            node: try readName(),
            incarnation: try readIdentifier(),
            number: try readNumber()
        )
    }

    package mutating func readRevision() throws(ClusterRoleError) -> Revision {
        Revision(history: try readIdentifier(), number: try readNumber())
    }
}
