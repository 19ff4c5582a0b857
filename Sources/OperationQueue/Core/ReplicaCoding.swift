package import ClusterRole
internal import DeviceRegistry

/// The binary form of one replica row, version 2: `version, kind, fields of the kind`.
extension ReplicaRow {
    private static let formatVersion = RowFormat.second

    /// What follows; the raw values are part of the format.
    private enum Kind: UInt8 {
        case device = 1
        case membership = 2
        case activity = 3
        case target = 4
        case execution = 5
        case activityGone = 6
        case mark = 7
        case group = 8
    }

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 128)
        writer.write(Self.formatVersion.rawValue)
        write(into: &writer)
        return writer.bytes
    }

    /// Reads what ``encoded()`` wrote.
    ///
    /// - Throws: ``ClusterRoleError`` with code `malformed` for an unknown version and for damaged or
    ///   cut data.
    package init(decoding bytes: [UInt8]) throws(ClusterRoleError) {
        var reader = ByteReader(bytes)
        let format: RowFormat = try reader.readCase(of: "version of a replica row")
        self = try Self.read(format, from: &reader)
        try reader.expectEnd()
    }

    fileprivate func write(into writer: inout ByteWriter) {
        switch self {
        case .device(let row):
            writer.write(Kind.device.rawValue)
            writer.write(row)
        case .membership(let tenant, let membership):
            writer.write(Kind.membership.rawValue)
            writer.write(tenant)
            writer.write(membership)
        case .activity(let tenant, let activity):
            writer.write(Kind.activity.rawValue)
            writer.write(tenant)
            writer.write(activity.operation)
            writer.write(optional: activity.group) { $0.write($1) }
            writer.write(activity.state.rawValue)
            writer.write(activity.gate.hold.rawValue)
            writer.write(Int64(activity.gate.ceiling))
        case .target(let tenant, let number, let device, let incarnation):
            writer.write(Kind.target.rawValue)
            writer.write(tenant)
            writer.write(number)
            writer.write(device)
            writer.write(incarnation)
        case .execution(let tenant, let number, let execution):
            writer.write(Kind.execution.rawValue)
            writer.write(tenant)
            writer.write(number)
            writer.write(execution)
        case .activityGone(let tenant, let number):
            writer.write(Kind.activityGone.rawValue)
            writer.write(tenant)
            writer.write(number)
        case .group(let tenant, let group, let frequency):
            writer.write(Kind.group.rawValue)
            writer.write(tenant)
            writer.write(group)
            writer.write(optional: frequency) { $0.write($1) }
        case .mark(let mark):
            writer.write(Kind.mark.rawValue)
            writer.write(mark)
        }
    }

    fileprivate static func read(
        _ format: RowFormat,
        from reader: inout ByteReader
    ) throws(ClusterRoleError) -> ReplicaRow {
        let kind: Kind = try reader.readCase(of: "row kind")
        switch kind {
        case .device:
            return .device(try reader.readDeviceRow())
        case .membership:
            return .membership(try reader.readName(), try reader.readMembership())
        case .activity:
            return .activity(
                try reader.readName(),
                ReplicaActivity(
                    operation: try reader.readOperation(format),
                    group: try reader.readOptional { reader throws(ClusterRoleError) in
                        try reader.readName()
                    },
                    state: try reader.readCase(of: "activity state"),
                    gate: format == .first
                        ? OfferGate()
                        : OfferGate(
                            hold: try reader.readCase(of: "hold"),
                            ceiling: try reader.readInt32()
                        )
                )
            )
        case .target:
            return .target(
                try reader.readName(),
                number: try reader.readNumber(),
                device: try reader.readName(),
                incarnation: try reader.readIdentifier()
            )
        case .execution:
            return .execution(
                try reader.readName(),
                number: try reader.readNumber(),
                try reader.readExecution(format)
            )
        case .activityGone:
            return .activityGone(try reader.readName(), number: try reader.readNumber())
        case .group:
            return .group(
                try reader.readName(),
                try reader.readName(),
                pollingFrequency: try reader.readOptional { reader throws(ClusterRoleError) in
                    try reader.readDuration()
                }
            )
        case .mark:
            return .mark(try reader.readMark())
        }
    }
}

/// The binary form of a replica page, version 2:
/// `version, content, revision, epoch, cursor of the next page, rows`.
extension ReplicaPage {
    private static let formatVersion = RowFormat.second

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 64 + rows.count * 96)
        writer.write(Self.formatVersion.rawValue)
        switch content {
        case .snapshotBegins: writer.write(1 as UInt8)
        case .snapshotContinues: writer.write(2 as UInt8)
        case .delta: writer.write(3 as UInt8)
        }
        writer.write(revision)
        writer.write(epoch.rawValue)
        writer.write(optional: next) { $0.write($1.token) }
        writer.write(array: rows) { $1.write(into: &$0) }
        return writer.bytes
    }

    /// Reads what ``encoded()`` wrote.
    ///
    /// - Throws: ``ClusterRoleError`` with code `malformed` for an unknown version and for damaged or
    ///   cut data.
    package init(decoding bytes: [UInt8]) throws(ClusterRoleError) {
        var reader = ByteReader(bytes)
        let format: RowFormat = try reader.readCase(of: "version of a replica page")
        let content: Content
        switch try reader.readByte() {
        case 1: content = .snapshotBegins
        case 2: content = .snapshotContinues
        case 3: content = .delta
        default: throw reader.refused("page content")
        }
        let revision = try reader.readRevision()
        let epoch = Epoch(rawValue: try reader.readNumber())
        let next = try reader.readOptional { reader throws(ClusterRoleError) in
            ReplicaCursor(token: try reader.readString())
        }
        let rows = try reader.readArray(elementSize: 4) { reader throws(ClusterRoleError) in
            try ReplicaRow.read(format, from: &reader)
        }
        try reader.expectEnd()
        self.init(content: content, rows: rows, revision: revision, next: next, epoch: epoch)
    }
}
