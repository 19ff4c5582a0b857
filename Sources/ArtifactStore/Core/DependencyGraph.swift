/// Which channels need which, and the orders that follow. It knows names only.
public struct DependencyGraph: Hashable, Sendable {
    private let needs: [ChannelName: Set<ChannelName>]

    /// - Parameter needs: what each channel needs. A channel that is only needed has needs of its
    ///   own only if it is a key.
    public init(_ needs: [ChannelName: [ReleaseDependency]]) {
        var all = needs.mapValues { Set($0.map(\.channel)) }
        for name in all.values.joined() where all[name] == nil { all[name] = [] }
        self.needs = all
    }

    /// Channels in groups: each needs only channels of groups before its own.
    ///
    /// - Returns: the groups, each by name; and what needs itself in a circle, or such a one, by name.
    func groups() -> (free: [[ChannelName]], circular: [ChannelName]) {
        var rest = needs
        var groups: [[ChannelName]] = []
        while !rest.isEmpty {
            let free = rest.filter { $0.value.allSatisfy { rest[$0] == nil } }.keys.sorted()
            guard !free.isEmpty else { break }
            for name in free { rest[name] = nil }
            groups.append(free)
        }
        return (groups, rest.keys.sorted())
    }

    /// Every channel after all that it needs; equals by name. The order in which releases are
    /// activated.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `dependencyCycle`, whose message names the circle.
    public func order() throws(ArtifactStoreError) -> [ChannelName] {
        let (groups, circular) = groups()
        guard circular.isEmpty else {
            throw Self.error(circle(in: needs.filter { circular.contains($0.key) }))
        }
        return groups.flatMap { $0 }
    }

    /// The groups a node brings its channels back in: what needs itself in a circle comes last, all
    /// in one group, for it was active like this before.
    func startGroups() -> [[ChannelName]] {
        let (groups, circular) = groups()
        return circular.isEmpty ? groups : groups + [circular]
    }

    /// Every channel before all that it needs: the order in which they are removed.
    ///
    /// - Throws: as ``order()``.
    public func removalOrder() throws(ArtifactStoreError) -> [ChannelName] {
        try order().reversed()
    }

    /// Every channel of `rest` needs another one of it: following any way ends in a circle.
    private func circle(in rest: [ChannelName: Set<ChannelName>]) -> [ChannelName] {
        var way: [ChannelName] = []
        var next = rest.keys.min()
        while let name = next {
            if let start = way.firstIndex(of: name) { return way[start...] + [name] }
            way.append(name)
            next = rest[name]?.filter { rest[$0] != nil }.min()
        }
        return way
    }

    private static func error(_ circle: [ChannelName]) -> ArtifactStoreError {
        ArtifactStoreError(
            .dependencyCycle,
            "Channels need each other in a circle: "
                + circle.map(\.rawValue).joined(separator: " needs ")
                + ". Take one of these dependencies out."
        )
    }
}
