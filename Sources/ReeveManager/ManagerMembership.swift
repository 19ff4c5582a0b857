#if Server && SQLite
internal import ArtifactStore
public import ClusterMembership
internal import ClusterRole
internal import Configuration
internal import HummingbirdHosting
internal import SQLiteStore
internal import ServiceLifecycle

// The manager's own node as a member of its cluster.

extension ManagerConfiguration {
    /// What the node tells others to dial; empty if nobody can.
    var advertised: String {
        let own = MemberAddress(listeningAt: address.host, port: address.port)
        return advertisedAddress ?? own?.description ?? ""
    }

    /// The node as it joins. One that deploys says its labels, abilities and channels, as workers do.
    func ownMember() throws -> Member {
        let member = Member(
            node: node,
            role: profile.role,
            domain: .standard(for: profile.role),
            address: advertised,
            version: abilities.softwareVersion?.description ?? "",
            properties: try ReleaseNodeProperties.make(
                labels: labels,
                capabilities: abilities.capabilities,
                channels: profile.role.mayServe ? Set(channels.keys) : []
            ),
            joinedAt: time.now(),
            lastHeard: time.now()
        )
        try member.validate()
        return member
    }

    /// Reads what the node says of itself.
    mutating func readMembership(_ config: ConfigReader) throws {
        advertisedAddress = config.string(forKey: "advertise.address")
        labels = try ReleaseNodeProperties.labels(
            parsing: config.stringArray(forKey: "labels") ?? []
        )
        abilities = try NodeAbilities(
            parsing: config.stringArray(forKey: "capabilities") ?? [],
            softwareVersion: config.string(forKey: "software.version")
        )
        healthInterval = .seconds(config.double(forKey: "health.interval", default: 10))
    }

    /// Refuses what others could not make use of.
    func validateMembership() throws {
        if let advertisedAddress {
            do { _ = try MemberAddress(validating: advertisedAddress) } catch {
                throw ManagerConfigurationError("advertise.address: \(error.message)")
            }
        }
        guard healthInterval >= .milliseconds(100) else {
            throw ManagerConfigurationError("health.interval is at least 0.1 seconds.")
        }
    }
}

extension ManagerNode {
    static let membershipComponent: ComponentName = "membership"

    /// Whether the node takes work: what it was told by a command, or what an administrator asked, whichever
    /// is stricter. One that drains answers its readiness 503, and serves those that come nevertheless.
    public var mode: MemberMode { max(messaging.standing.mode, membership.askedMode) }

    /// Says to the cluster that this node is there.
    var belonging: NodeComponent {
        NodeComponent(Self.membershipComponent, roles: [.manager]) { [membership] in membership }
    }

    /// Says how the releases do that a combined node deploys, as workers do.
    var healthMonitors: [NodeComponent] {
        let sink = InProcessHealthSink(storage: store, capability: capability)
        return releases.artifacts.channels.sorted().enumerated().map { index, channel in
            let monitor = ReleaseHealthMonitor(
                node: configuration.node,
                tenant: configuration.tenant,
                active: { [releases] in releases.artifacts.sync(of: channel)?.active },
                check: { [configuration] release in
                    try await configuration.channels[channel]?.checkHealth(of: release)
                },
                sink: sink,
                interval: configuration.healthInterval,
                clock: configuration.time,
                logger: configuration.logger
            )
            return NodeComponent(ComponentName(rawValue: "health-\(index)"), roles: [.worker]) {
                monitor
            }
        }
    }
}
#endif
