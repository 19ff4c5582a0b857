package import ClusterRole
internal import DeviceRegistry

/// The binary form of an operation's terms, version 1: nothing at all for standard terms, else
/// `version`, then each field in the order of the declaration.
extension OperationTerms {
    private static let formatVersion: UInt8 = 1

    package var encoded: [UInt8] {
        if self == .standard { return [] }
        var writer = ByteWriter(capacity: 64)
        writer.write(Self.formatVersion)
        writer.write(scope.rawValue)
        writer.write(optional: notBefore) { $0.write($1) }
        writer.write(optional: window) { $0.write($1) }
        writer.write(optional: timeouts.whole) { $0.write($1) }
        writer.write(optional: timeouts.step) { $0.write($1) }
        writer.write(timeouts.cancellation)
        writer.write(optional: retry) { $1.write(into: &$0) }
        writer.write(array: after) {
            $0.write($1.activity)
            $0.write($1.onFailure.rawValue)
        }
        switch control {
        case .always: writer.write(0 as UInt8)
        case .noRepeat: writer.write(1 as UInt8)
        case .supersede(let key):
            writer.write(2 as UInt8)
            writer.write(key)
        }
        writer.write(confirmation.rawValue)
        writer.write(approval.rawValue)
        writer.write(optional: rollout) { $1.write(into: &$0) }
        writer.write(wake == .push)
        return writer.bytes
    }

    /// Reads what ``encoded`` gave.
    ///
    /// - Throws: ``ClusterRoleError`` with code `malformed`.
    package init(encoded bytes: [UInt8]) throws(ClusterRoleError) {
        self.init()
        if bytes.isEmpty { return }
        var reader = ByteReader(bytes)
        try reader.expectVersion(Self.formatVersion, of: "operation terms")
        scope = try reader.readCase(of: "scope")
        notBefore = try reader.readOptional { reader throws(ClusterRoleError) in
            try reader.readTimestamp()
        }
        window = try reader.readOptional { reader throws(ClusterRoleError) in
            try reader.readMaintenanceWindow()
        }
        timeouts.whole = try reader.readOptional { reader throws(ClusterRoleError) in
            try reader.readDuration()
        }
        timeouts.step = try reader.readOptional { reader throws(ClusterRoleError) in
            try reader.readDuration()
        }
        timeouts.cancellation = try reader.readDuration()
        retry = try reader.readOptional { reader throws(ClusterRoleError) in
            try RetryPolicy(from: &reader)
        }
        after = try reader.readArray(elementSize: 17) { reader throws(ClusterRoleError) in
            OperationDependency(
                try reader.readIdentifier(),
                onFailure: try reader.readCase(of: "failure rule")
            )
        }
        switch try reader.readByte() {
        case 0: control = .always
        case 1: control = .noRepeat
        case 2: control = .supersede(try reader.readString())
        default: throw reader.refused("control")
        }
        confirmation = try reader.readCase(of: "confirmation")
        approval = try reader.readCase(of: "approval")
        rollout = try reader.readOptional { reader throws(ClusterRoleError) in
            try RolloutPlan(from: &reader)
        }
        wake = try reader.readBool() ? .push : .none
        try reader.expectEnd()
    }
}

extension RetryPolicy {
    fileprivate func write(into writer: inout ByteWriter) {
        writer.write(Int64(count))
        writer.write(backoff)
        writer.write(longestBackoff)
        switch matching {
        case .any: writer.write(0 as UInt8)
        case .timeouts: writer.write(1 as UInt8)
        case .errors(let codes):
            writer.write(2 as UInt8)
            writer.write(array: codes) { $0.write($1) }
        }
    }

    fileprivate init(from reader: inout ByteReader) throws(ClusterRoleError) {
        self.init(
            count: try reader.readInt32(),
            backoff: try reader.readDuration(),
            longestBackoff: try reader.readDuration()
        )
        switch try reader.readByte() {
        case 0: matching = .any
        case 1: matching = .timeouts
        case 2:
            matching = .errors(
                try reader.readArray(elementSize: 1) { reader throws(ClusterRoleError) in
                    try reader.readString()
                }
            )
        default: throw reader.refused("retry matcher")
        }
    }
}

extension RolloutPlan {
    fileprivate func write(into writer: inout ByteWriter) {
        switch pace {
        case .waves(let waves):
            writer.write(0 as UInt8)
            writer.write(array: waves) {
                $0.write(Int64($1.share))
                $0.write(Int64($1.successPercent))
                $0.write($1.soak)
            }
        case .rate(let devicesPerMinute):
            writer.write(1 as UInt8)
            writer.write(Int64(devicesPerMinute))
        }
        writer.write(optional: failure) {
            $0.write(Int64($1.percent))
            $0.write(Int64($1.minimum))
            $0.write($1.action.rawValue)
        }
    }

    fileprivate init(from reader: inout ByteReader) throws(ClusterRoleError) {
        switch try reader.readByte() {
        case 0:
            pace = .waves(
                try reader.readArray(elementSize: 3) { reader throws(ClusterRoleError) in
                    RolloutWave(
                        share: try reader.readInt32(),
                        successPercent: try reader.readInt32(),
                        soak: try reader.readDuration()
                    )
                }
            )
        case 1: pace = .rate(devicesPerMinute: try reader.readInt32())
        default: throw reader.refused("rollout pace")
        }
        failure = try reader.readOptional { reader throws(ClusterRoleError) in
            RolloutFailureThreshold(
                percent: try reader.readInt32(),
                minimum: try reader.readInt32(),
                action: try reader.readCase(of: "failure action")
            )
        }
    }
}
