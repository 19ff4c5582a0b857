package import ClusterRole

/// The binary form of messages, in rows and on the link: a version byte, then the fields in their order.
package enum MessageCoding {
    private static let version: UInt8 = 1

    package static func encode(_ message: ClusterMessage) -> [UInt8] {
        var writer = ByteWriter(capacity: 128 + message.payload.count)
        writer.write(version)
        write(&writer, message)
        return writer.bytes
    }

    package static func decodeMessage(_ bytes: [UInt8]) throws(ClusterRoleError) -> ClusterMessage {
        var reader = ByteReader(bytes)
        try reader.expectVersion(version, of: "a message")
        let message = try readMessage(&reader)
        try reader.expectEnd()
        return message
    }

    package static func encode(_ page: MessagePage, epoch: Epoch) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(version)
        writer.write(epoch.rawValue)
        writer.write(page.cursor.incarnation.bits)
        writer.write(page.cursor.number)
        writer.write(Int64(page.dropped))
        writer.write(array: page.messages, write)
        return writer.bytes
    }

    package static func decodePage(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> (page: MessagePage, epoch: Epoch) {
        try reader.expectVersion(version, of: "a page of messages")
        let epoch = Epoch(rawValue: try reader.readInt64())
        let cursor = MessageCursor(
            incarnation: IncarnationID(bits: try reader.readUInt128()),
            number: try reader.readInt64()
        )
        let dropped = Int(truncatingIfNeeded: try reader.readInt64())
        let messages = try reader.readArray(elementSize: 24, readMessage)
        return (MessagePage(messages: messages, cursor: cursor, dropped: dropped), epoch)
    }

    package static func encode(_ answers: [MessageAcknowledgement]) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(version)
        writer.write(array: answers) { writer, answer in
            writer.write(answer.message.bits)
            writer.write(answer.node.rawValue)
            writer.write(outcomeByte(answer.outcome))
            writer.write(answer.reply)
            writer.write(answer.reason)
            writer.write(answer.at.rawValue)
        }
        return writer.bytes
    }

    package static func decodeAnswers(
        _ bytes: [UInt8]
    ) throws(ClusterRoleError) -> [MessageAcknowledgement] {
        var reader = ByteReader(bytes)
        try reader.expectVersion(version, of: "answers to messages")
        let answers = try reader.readArray(elementSize: 20) {
            (reader) throws(ClusterRoleError) in
            MessageAcknowledgement(
                message: MessageID(bits: try reader.readUInt128()),
                node: NodeID(rawValue: try reader.readString()),
                outcome: try readOutcome(&reader),
                reply: try reader.readBytes(),
                reason: try reader.readString(),
                at: Timestamp(rawValue: try reader.readInt64())
            )
        }
        try reader.expectEnd()
        return answers
    }

    package static func encode(recipients: [NodeID]) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(version)
        writer.write(array: recipients) { $0.write($1.rawValue) }
        return writer.bytes
    }

    package static func decodeRecipients(_ bytes: [UInt8]) throws(ClusterRoleError) -> [NodeID] {
        var reader = ByteReader(bytes)
        try reader.expectVersion(version, of: "the recipients of a message")
        let nodes = try reader.readArray { (reader) throws(ClusterRoleError) in
            NodeID(rawValue: try reader.readString())
        }
        try reader.expectEnd()
        return nodes
    }

    // MARK: Fields

    private static func write(_ writer: inout ByteWriter, _ message: ClusterMessage) {
        writer.write(message.id.bits)
        writer.write(message.kind.rawValue)
        writer.write(message.payload)
        writer.write(message.messageClass == .reliable)
        write(&writer, message.address)
        writer.write(message.lateJoiners == .replayed)
        writer.write(message.expectsReply)
        writer.write(message.sender.rawValue)
        writer.write(message.sentAt.rawValue)
        writer.write(message.expiresAt.rawValue)
    }

    private static func readMessage(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> ClusterMessage {
        ClusterMessage(
            id: MessageID(bits: try reader.readUInt128()),
            kind: MessageKind(rawValue: try reader.readString()),
            payload: try reader.readBytes(),
            messageClass: try reader.readBool() ? .reliable : .idempotent,
            address: try readAddress(&reader),
            lateJoiners: try reader.readBool() ? .replayed : .skipped,
            expectsReply: try reader.readBool(),
            sender: NodeID(rawValue: try reader.readString()),
            sentAt: Timestamp(rawValue: try reader.readInt64()),
            expiresAt: Timestamp(rawValue: try reader.readInt64())
        )
    }

    private static func write(_ writer: inout ByteWriter, _ address: MessageAddress) {
        switch address {
        case .everybody: writer.write(UInt8(1))
        case .members(let nodes):
            writer.write(UInt8(2))
            writer.write(array: nodes) { $0.write($1.rawValue) }
        case .role(let role):
            writer.write(UInt8(3))
            writer.write(role.rawValue)
        case .domain(let domain):
            writer.write(UInt8(4))
            writer.write(domain.description)
        case .property(let name, let value):
            writer.write(UInt8(5))
            writer.write(name)
            writer.write(value)
        }
    }

    private static func readAddress(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> MessageAddress {
        switch try reader.readByte() {
        case 1: return .everybody
        case 2:
            return .members(
                try reader.readArray { (reader) throws(ClusterRoleError) in
                    NodeID(rawValue: try reader.readString())
                }
            )
        case 3:
            guard let role = NodeRole(rawValue: try reader.readString()) else {
                throw unknown("role")
            }
            return .role(role)
        case 4: return .domain(try ClusterDomain(parsing: try reader.readString()))
        case 5: return .property(name: try reader.readString(), value: try reader.readString())
        default: throw unknown("address")
        }
    }

    private static func outcomeByte(_ outcome: MessageOutcome) -> UInt8 {
        switch outcome {
        case .handled: 1
        case .failed: 2
        case .unknownKind: 3
        }
    }

    private static func readOutcome(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> MessageOutcome {
        switch try reader.readByte() {
        case 1: return .handled
        case 2: return .failed
        case 3: return .unknownKind
        default: throw unknown("outcome")
        }
    }

    private static func unknown(_ what: String) -> ClusterRoleError {
        ClusterRoleError(
            .malformed,
            "A message holds a kind of \(what) this build does not know. Upgrade the older side."
        )
    }
}
