internal import ClusterRole

// The forms in which drivers keep rollouts. Every one begins with its version.

extension ReleaseRollout {
    /// Version 1: id, tenant, channel, plan, initiator, started, candidate, baseline, root, state, wave,
    /// began, satisfied, named, naming wave, failures tolerated and seen, closed, reason, version.
    package var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 512)
        writer.write(UInt8(1))
        writer.write(id.bits)
        writer.write(tenant.rawValue)
        writer.write(channel.rawValue)
        plan.write(to: &writer)
        writer.write(initiator)
        writer.write(startedAt.rawValue)
        writer.write(candidate.rawValue)
        writer.write(optional: baseline) {
            $0.write($1.number.rawValue)
            $0.write($1.root.digest)
        }
        writer.write(optional: candidateRoot) { $0.write($1.digest) }
        writer.write(state.rawValue)
        writer.write(Int64(wave))
        writer.write(optional: waveBegan) { $0.write($1.rawValue) }
        writer.write(optional: satisfiedSince) { $0.write($1.rawValue) }
        writer.write(array: named.sorted()) { $0.write($1.rawValue) }
        writer.write(optional: namingWave) { $0.write(Int64($1)) }
        writer.write(Int64(toleratedFailures))
        writer.write(Int64(pausingFailures))
        writer.write(optional: closedAt) { $0.write($1.rawValue) }
        writer.write(reason)
        writer.write(version)
        return writer.bytes
    }

    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    package init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        self = try decoded(bytes, "rollout") { reader throws(ClusterRoleError) in
            try ReleaseRollout(from: &reader)
        }
        guard plan.waves.indices.contains(wave) else {
            throw .malformed("The rollout's wave is not one of its plan.")
        }
    }

    private init(from reader: inout ByteReader) throws(ClusterRoleError) {
        self.init(
            id: ReleaseRolloutID(bits: try reader.readUInt128()),
            tenant: TenantID(rawValue: try reader.readString()),
            channel: ChannelName(rawValue: try reader.readString()),
            plan: try ReleaseRolloutPlan(from: &reader),
            initiator: try reader.readString(),
            startedAt: Timestamp(rawValue: try reader.readInt64()),
            candidate: ReleaseNumber(try reader.readInt64()),
            baseline: try reader.readOptional { reader throws(ClusterRoleError) in
                Target(
                    number: ReleaseNumber(try reader.readInt64()),
                    root: TreeID(try reader.readDigest())
                )
            }
        )
        candidateRoot = try reader.readOptional { reader throws(ClusterRoleError) in
            TreeID(try reader.readDigest())
        }
        state = try reader.readCase()
        wave = Int(try reader.readInt64())
        waveBegan = try reader.readOptionalTime()
        satisfiedSince = try reader.readOptionalTime()
        named = Set(
            try reader.readArray { reader throws(ClusterRoleError) in
                NodeID(rawValue: try reader.readString())
            }
        )
        namingWave = try reader.readOptional { reader throws(ClusterRoleError) in
            Int(try reader.readInt64())
        }
        toleratedFailures = Int(try reader.readInt64())
        pausingFailures = Int(try reader.readInt64())
        closedAt = try reader.readOptionalTime()
        reason = try reader.readString()
        version = try reader.readInt64()
    }
}

extension ReleaseRolloutPlan {
    fileprivate func write(to writer: inout ByteWriter) {
        writer.write(array: waves) { writer, wave in
            writer.write(array: wave.audience.labels.sorted { $0.key < $1.key }) {
                $0.write($1.key)
                $0.write($1.value)
            }
            writer.write(optional: wave.audience.share) { $0.write(Int64($1)) }
            writer.write(optional: wave.audience.count) { $0.write(Int64($1)) }
            writer.write(Int64(wave.acknowledgedPercent))
            writer.write(wave.health.rawValue)
            writer.write(wave.soak.milliseconds)
            writer.write(optional: wave.timeout) { $0.write($1.milliseconds) }
        }
        writer.write(Int64(failure.percent))
        writer.write(Int64(failure.minimum))
        writer.write(failure.action.rawValue)
    }

    fileprivate init(from reader: inout ByteReader) throws(ClusterRoleError) {
        let waves = try reader.readArray(elementSize: 7) { reader throws(ClusterRoleError) in
            let labels = try reader.readArray(elementSize: 2) {
                reader throws(ClusterRoleError) in
                (try reader.readString(), try reader.readString())
            }
            let audience = ReleaseAudience(
                labels: Dictionary(labels) { first, _ in first },
                share: try reader.readOptional { reader throws(ClusterRoleError) in
                    Int32(truncatingIfNeeded: try reader.readInt64())
                },
                count: try reader.readOptional { reader throws(ClusterRoleError) in
                    Int32(truncatingIfNeeded: try reader.readInt64())
                }
            )
            return ReleaseRolloutWave(
                audience,
                acknowledgedPercent: Int32(truncatingIfNeeded: try reader.readInt64()),
                health: try reader.readCase(),
                soak: .milliseconds(try reader.readInt64()),
                timeout: try reader.readOptional { reader throws(ClusterRoleError) in
                    .milliseconds(try reader.readInt64())
                }
            )
        }
        self.init(
            waves: waves,
            failure: ReleaseFailureThreshold(
                percent: Int32(truncatingIfNeeded: try reader.readInt64()),
                minimum: Int32(truncatingIfNeeded: try reader.readInt64()),
                action: try reader.readCase()
            )
        )
    }
}

extension ReleaseRolloutTransition {
    /// Version 1: every field in its order.
    package var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 96)
        writer.write(UInt8(1))
        writer.write(rollout.bits)
        writer.write(number)
        writer.write(event.rawValue)
        writer.write(state.rawValue)
        writer.write(Int64(wave))
        writer.write(at.rawValue)
        writer.write(by)
        writer.write(reason)
        return writer.bytes
    }

    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    package init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        self = try decoded(bytes, "transition") { reader throws(ClusterRoleError) in
            ReleaseRolloutTransition(
                rollout: ReleaseRolloutID(bits: try reader.readUInt128()),
                number: try reader.readInt64(),
                event: try reader.readCase(),
                state: try reader.readCase(),
                wave: Int(try reader.readInt64()),
                at: Timestamp(rawValue: try reader.readInt64()),
                by: try reader.readString(),
                reason: try reader.readString()
            )
        }
    }
}

extension ReleaseBlock {
    /// Version 1: every field in its order.
    package var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 128)
        writer.write(UInt8(1))
        writer.write(channel.rawValue)
        writer.write(root.digest)
        writer.write(number.rawValue)
        writer.write(rollout.bits)
        writer.write(at.rawValue)
        writer.write(by)
        writer.write(reason)
        return writer.bytes
    }

    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    package init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        self = try decoded(bytes, "block") { reader throws(ClusterRoleError) in
            ReleaseBlock(
                channel: ChannelName(rawValue: try reader.readString()),
                root: TreeID(try reader.readDigest()),
                number: ReleaseNumber(try reader.readInt64()),
                rollout: ReleaseRolloutID(bits: try reader.readUInt128()),
                at: Timestamp(rawValue: try reader.readInt64()),
                by: try reader.readString(),
                reason: try reader.readString()
            )
        }
    }
}

extension ReleaseHealth {
    /// Version 1: every field in its order.
    package var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 128)
        writer.write(UInt8(1))
        writer.write(node.rawValue)
        writer.write(channel.rawValue)
        writer.write(number.rawValue)
        writer.write(root.digest)
        writer.write(state.rawValue)
        writer.write(message)
        writer.write(at.rawValue)
        return writer.bytes
    }

    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    package init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        self = try decoded(bytes, "health report") { reader throws(ClusterRoleError) in
            ReleaseHealth(
                node: NodeID(rawValue: try reader.readString()),
                channel: ChannelName(rawValue: try reader.readString()),
                number: ReleaseNumber(try reader.readInt64()),
                root: TreeID(try reader.readDigest()),
                state: try reader.readCase(),
                message: try reader.readString(),
                at: Timestamp(rawValue: try reader.readInt64())
            )
        }
    }
}

/// Reads one value with its version before it and nothing behind it.
private func decoded<Value>(
    _ bytes: [UInt8],
    _ what: String,
    _ body: (inout ByteReader) throws(ClusterRoleError) -> Value
) throws(ArtifactStoreError) -> Value {
    var reader = ByteReader(bytes)
    do {
        try reader.expectVersion(1, of: "\(what)s")
        let value = try body(&reader)
        try reader.expectEnd()
        return value
    } catch {
        throw .malformed("The \(what) cannot be read.", cause: error)
    }
}

extension ByteReader {
    fileprivate mutating func readCase<Value: RawRepresentable>() throws(ClusterRoleError) -> Value
    where Value.RawValue == UInt8 {
        let code = try readByte()
        guard let value = Value(rawValue: code) else {
            throw ClusterRoleError(
                .malformed,
                "\(code) is no \(Value.self). Upgrade the older side."
            )
        }
        return value
    }

    fileprivate mutating func readOptionalTime() throws(ClusterRoleError) -> Timestamp? {
        try readOptional { reader throws(ClusterRoleError) in
            Timestamp(rawValue: try reader.readInt64())
        }
    }
}
