package import ClusterRole
internal import DeviceRegistry

/// The binary form of an inbox entry, version 1: as it stands in a spool and travels on the link.
///
/// `version, tenant, device, incarnation, received at, kind, fields of the kind`.
extension InboxEntry {
    private static let formatVersion: UInt8 = 1

    /// What follows; the raw values are part of the format.
    private enum Kind: UInt8 {
        case contact = 1
        case registration = 2
        case claim = 3
        case progress = 4
        case result = 5
        case information = 6
        case superseded = 7
        case resultChunk = 8
    }

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 128)
        writer.write(Self.formatVersion)
        writer.write(identity.tenant)
        writer.write(identity.device)
        writer.write(identity.incarnation)
        writer.write(receivedAt)
        writer.write(kind.rawValue)
        switch body {
        case .contact(let answeredAt):
            writer.write(optional: answeredAt) { $0.write($1) }
        case .registration(let registration):
            writer.write(optional: registration) {
                $0.write($1.transport)
                $0.write($1.address)
                $0.write($1.registeredAt)
            }
        case .claim(let operation, let attempt, let leaseEnd):
            writer.write(operation)
            writer.write(attempt)
            writer.write(leaseEnd)
        case .progress(let operation, let attempt, let detail, let stepEnd):
            writer.write(operation)
            writer.write(optional: attempt) { $0.write($1) }
            writer.write(detail)
            writer.write(stepEnd)
        case .result(let operation, let attempt, let outcome, let detail):
            writer.write(operation)
            writer.write(optional: attempt) { $0.write($1) }
            outcome.encode(into: &writer)
            writer.write(detail)
        case .information(let kind, let body):
            writer.write(kind)
            writer.write(body)
        case .superseded(let operation): writer.write(operation)
        case .resultChunk(let operation, let chunk):
            writer.write(operation)
            writer.write(chunk.upload)
            writer.write(Int64(chunk.index))
            writer.write(chunk.bytes)
            writer.write(optional: chunk.digest) { $0.write($1) }
        }
        return writer.bytes
    }

    /// Reads what ``encoded()`` wrote.
    ///
    /// - Throws: ``ClusterRoleError`` with code `malformed` for an unknown version and for damaged or
    ///   cut data; with `invalidName` for a name that could not have entered.
    package init(decoding bytes: [UInt8]) throws(ClusterRoleError) {
        var reader = ByteReader(bytes)
        try reader.expectVersion(Self.formatVersion, of: "inbox entry")
        let identity = DeviceIdentity(
            tenant: try TenantID(validating: reader.readString()),
            device: try DeviceID(validating: reader.readString()),
            incarnation: try reader.readIdentifier()
        )
        let receivedAt = try reader.readTimestamp()
        let kind: Kind = try reader.readCase(of: "entry kind")
        let body = try Self.readBody(kind, from: &reader)
        try reader.expectEnd()
        self.init(identity: identity, receivedAt: receivedAt, body: body)
    }

    private var kind: Kind {
        switch body {
        case .contact: .contact
        case .registration: .registration
        case .claim: .claim
        case .progress: .progress
        case .result: .result
        case .information: .information
        case .superseded: .superseded
        case .resultChunk: .resultChunk
        }
    }

    private static func readBody(
        _ kind: Kind,
        from reader: inout ByteReader
    ) throws(ClusterRoleError) -> Body {
        switch kind {
        case .contact:
            return .contact(
                answeredAt: try reader.readOptional { reader throws(ClusterRoleError) in
                    try reader.readRevision()
                }
            )
        case .registration:
            return .registration(
                try reader.readOptional { reader throws(ClusterRoleError) in
                    PushRegistration(
                        transport: try reader.readString(),
                        address: try reader.readString(),
                        registeredAt: try reader.readTimestamp()
                    )
                }
            )
        case .claim:
            return .claim(
                try reader.readIdentifier(),
                attempt: try reader.readIdentifier(),
                leaseEnd: try reader.readTimestamp()
            )
        case .progress:
            return .progress(
                try reader.readIdentifier(),
                attempt: try readAttempt(from: &reader),
                detail: try reader.readBytes(),
                stepEnd: try reader.readTimestamp()
            )
        case .result:
            return .result(
                try reader.readIdentifier(),
                attempt: try readAttempt(from: &reader),
                outcome: try ResultOutcome(from: &reader),
                detail: try reader.readBytes()
            )
        case .information:
            return .information(
                try InformationKind(validating: reader.readString()),
                body: try reader.readBytes()
            )
        case .superseded: return .superseded(try reader.readIdentifier())
        case .resultChunk:
            return .resultChunk(
                try reader.readIdentifier(),
                chunk: try ResultChunk(from: &reader)
            )
        }
    }

    private static func readAttempt(
        from reader: inout ByteReader
    ) throws(ClusterRoleError) -> AttemptID? {
        try reader.readOptional { reader throws(ClusterRoleError) in try reader.readIdentifier() }
    }
}

extension ResultChunk {
    fileprivate init(from reader: inout ByteReader) throws(ClusterRoleError) {
        self.init(
            upload: try reader.readIdentifier(),
            index: try reader.readInt32(),
            bytes: try reader.readBytes(),
            digest: try reader.readOptional { reader throws(ClusterRoleError) in
                try reader.readBytes()
            }
        )
        guard index >= 0, bytes.count <= Self.maximumBytes,
            digest.map({ $0.count == Self.digestBytes }) ?? true
        else { throw reader.refused("result chunk") }
    }
}

extension ResultOutcome {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .completed: writer.write(1 as UInt8)
        case .failed: writer.write(2 as UInt8)
        case .notNow(let until):
            writer.write(3 as UInt8)
            writer.write(until)
        case .awaitingConfirmation: writer.write(4 as UInt8)
        case .confirmed: writer.write(5 as UInt8)
        case .cancelled: writer.write(6 as UInt8)
        case .failedBecause(let code):
            writer.write(7 as UInt8)
            writer.write(code)
        }
    }

    init(from reader: inout ByteReader) throws(ClusterRoleError) {
        switch try reader.readByte() {
        case 1: self = .completed
        case 2: self = .failed
        case 3: self = .notNow(until: try reader.readTimestamp())
        case 4: self = .awaitingConfirmation
        case 5: self = .confirmed
        case 6: self = .cancelled
        case 7: self = .failedBecause(try reader.readString())
        default: throw reader.refused("outcome")
        }
    }
}
