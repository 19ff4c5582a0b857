package import ClusterRole

/// The replicated state in memory: what a reader answers from, and the rules of its changes.
package struct SharedStateImage: Sendable {
    /// The revision of its newest change; `nil` before the first delta.
    package private(set) var revision: Revision?
    /// Readers that are older take a snapshot: removals up to here are forgotten.
    package private(set) var floor: Int64 = 0
    private var entries: [SharedStateKey: SharedStateEntry] = [:]

    package init() {}

    /// An image of rows that were stored.
    package init(revision: Revision, floor: Int64, entries: [SharedStateEntry]) {
        self.revision = revision
        self.floor = floor
        for entry in entries { self.entries[entry.key] = entry }
    }

    package func entry(_ key: SharedStateKey) -> SharedStateEntry? {
        entries[key].flatMap { $0.value == nil ? nil : $0 }
    }

    /// What a namespace holds, by key.
    package func entries(in namespace: String) -> [SharedStateEntry] {
        entries.values.filter { $0.key.namespace == namespace && $0.value != nil }
            .sorted { $0.key < $1.key }
    }

    /// Everything, removals included, by version.
    package var all: [SharedStateEntry] { entries.values.sorted { $0.version < $1.version } }

    package var bytes: Int { Self.bytes(of: entries.values.map { $0 }) }

    private static func bytes(of entries: [SharedStateEntry]) -> Int {
        entries.reduce(0) { sum, entry in
            sum + entry.key.namespace.utf8.count + entry.key.key.utf8.count
                + (entry.value?.count ?? 0)
        }
    }

    // MARK: Reading

    /// What a reader lacks; `nil` if nothing.
    package func delta(after position: Revision?) -> SharedStateDelta? {
        guard let revision, position != revision else { return nil }
        guard let position, position.history == revision.history, position.number >= floor,
            position.number <= revision.number
        else {
            return SharedStateDelta(
                revision: revision,
                isSnapshot: true,
                entries: all.filter { $0.value != nil }
            )
        }
        return SharedStateDelta(
            revision: revision,
            isSnapshot: false,
            entries: all.filter { $0.version > position.number }
        )
    }

    /// Takes what was lacking. A delta that leads back in the same history is left alone.
    ///
    /// - Returns: whether anything was taken.
    package mutating func onDelta(_ delta: SharedStateDelta) -> Bool {
        if let revision, revision.covers(delta.revision) { return false }
        if delta.isSnapshot {
            entries = [:]
            floor = delta.revision.number
        } else {
            guard revision?.history == delta.revision.history else { return false }
        }
        for entry in delta.entries { entries[entry.key] = entry }
        revision = delta.revision
        // A reader forgets removals as a writer does: it hands deltas on to nobody.
        forgetRemovals(but: SharedStateLimits().keptRemovals)
        return true
    }

    // MARK: Changing

    /// Checks a change against the rules.
    ///
    /// - Throws: ``ClusterMembershipError`` with code `invalidState`, `stateConflict` or `stateFull`.
    package func check(
        _ change: SharedStateChange,
        _ limits: SharedStateLimits
    ) throws(ClusterMembershipError) {
        let longest = max(change.key.namespace.utf8.count, change.key.key.utf8.count)
        guard !change.key.namespace.isEmpty, !change.key.key.isEmpty,
            longest <= SharedStateLimits.maximumNameBytes,
            change.value?.count ?? 0 <= limits.maximumValueBytes
        else {
            throw ClusterMembershipError(
                .invalidState,
                "Namespace and key have 1 to \(SharedStateLimits.maximumNameBytes) bytes, a value at most "
                    + "\(limits.maximumValueBytes)."
            )
        }
        let present = entry(change.key)
        let isAsExpected =
            switch change.expected {
            case .anything: true
            case .absent: present == nil
            case .version(let version): present?.version == version
            }
        guard isAsExpected else {
            let found = present.map { "version \($0.version)" } ?? "nothing"
            throw ClusterMembershipError(
                .stateConflict,
                "\(change.key) is not what was expected: there is \(found). Read it again, then decide."
            )
        }
        guard let value = change.value else { return }
        let live = entries.values.filter { $0.value != nil && $0.key != change.key }
        let new = SharedStateEntry(key: change.key, value: value, version: 0)
        guard live.count < limits.maximumEntries,
            Self.bytes(of: live) + Self.bytes(of: [new]) <= limits.maximumBytes
        else {
            throw ClusterMembershipError(
                .stateFull,
                "The replicated state holds at most \(limits.maximumEntries) entries and "
                    + "\(limits.maximumBytes) bytes. Remove something, or publish an artifact instead."
            )
        }
    }

    /// A change that was checked took a revision.
    ///
    /// - Returns: the entry written, and removals to be forgotten for it.
    package mutating func onChanged(
        _ change: SharedStateChange,
        at revision: Revision,
        _ limits: SharedStateLimits
    ) -> (entry: SharedStateEntry, forgotten: [SharedStateKey]) {
        let entry = SharedStateEntry(
            key: change.key,
            value: change.value,
            version: revision.number
        )
        entries[change.key] = entry
        self.revision = revision
        return (entry, forgetRemovals(but: limits.keptRemovals))
    }

    @discardableResult
    private mutating func forgetRemovals(but kept: Int) -> [SharedStateKey] {
        let removals = all.filter { $0.value == nil }
        guard removals.count > kept else { return [] }
        let gone = removals.dropLast(kept)
        for entry in gone { entries[entry.key] = nil }
        floor = max(floor, gone.last?.version ?? 0)
        return gone.map(\.key)
    }
}

/// The binary form of the replicated state, on the link and in a node's own copy.
package enum SharedStateCoding {
    private static let version: UInt8 = 1

    package static func encode(_ delta: SharedStateDelta) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(version)
        writer.write(delta.revision.history.bits)
        writer.write(delta.revision.number)
        writer.write(delta.isSnapshot)
        writer.write(array: delta.entries) { writer, entry in
            writer.write(entry.key.namespace)
            writer.write(entry.key.key)
            writer.write(optional: entry.value) { $0.write($1) }
            writer.write(entry.version)
        }
        return writer.bytes
    }

    package static func decode(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> SharedStateDelta {
        try reader.expectVersion(version, of: "the replicated state")
        let revision = Revision(
            history: HistoryID(bits: try reader.readUInt128()),
            number: try reader.readInt64()
        )
        let isSnapshot = try reader.readBool()
        let entries = try reader.readArray(elementSize: 4) { (reader) throws(ClusterRoleError) in
            let namespace = try reader.readString()
            let key = SharedStateKey(try reader.readString(), in: namespace)
            let value = try reader.readOptional { (reader) throws(ClusterRoleError) in
                try reader.readBytes()
            }
            return SharedStateEntry(key: key, value: value, version: try reader.readInt64())
        }
        return SharedStateDelta(revision: revision, isSnapshot: isSnapshot, entries: entries)
    }
}
