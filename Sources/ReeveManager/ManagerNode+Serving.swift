#if Server && SQLite
internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import ClusterTransport
internal import Configuration
internal import DeviceGateway
internal import HTTPHandling
internal import HummingbirdHosting
internal import OperationQueue

// Where a node listens, and what it serves there: a combined node has the worker's half as well.

extension ManagerNode {
    /// The HTTP servers as components. What devices reach is a server of its own where it has an address
    /// of its own, so that nothing of the manager's half answers there.
    func servers() throws -> [NodeComponent] {
        var serving = ReeveServerConfiguration(address: configuration.address)
        if configuration.servesDevicesBesideTheRest {
            serving.limits.maximumConcurrentRequests += configuration.waitingDevices
        }
        let main = try server(serving, try mounts(), tls: try tls())
        var servers = [NodeComponent("http", roles: [.manager]) { main }]
        if let address = configuration.gatewayAddress {
            var facing = ReeveServerConfiguration(address: address)
            // A poll that waits is a request under way: those that do not wait keep their places.
            facing.limits.maximumConcurrentRequests += configuration.waitingDevices
            let gateway = try server(facing, try gatewayMounts())
            servers.append(NodeComponent("gateway-http", roles: [.worker]) { gateway })
        }
        if configuration.access == .public {
            let serving = ReeveServerConfiguration(address: configuration.userAddress)
            let users = try server(serving, try userMounts())
            servers.append(NodeComponent("user-http", roles: [.manager]) { users })
        }
        return servers
    }

    private func server(
        _ serving: ReeveServerConfiguration,
        _ mounts: [HandlerMount],
        tls: ServerTLS? = nil
    ) throws -> ReeveServer {
        try ReeveServer(
            configuration: serving,
            mounts: mounts,
            tls: tls,
            time: configuration.time,
            logger: configuration.logger
        )
    }

    /// What ``ManagerConfiguration/address`` serves.
    private func mounts() throws -> [HandlerMount] {
        var root = try health()
        try root.mount(statusPage, at: "/")
        let mounts = [
            HandlerMount("/admin/v1", audited(observed(adminAPI, "admin"))),
            HandlerMount(LinkEndpoint.standardPrefix, audited(observed(link, "link"))),
            HandlerMount("/", observed(root, "console")),
        ]
        return configuration.servesDevicesBesideTheRest ? mounts + [deviceMount] : mounts
    }

    /// What ``ManagerConfiguration/gatewayAddress`` serves: what a worker serves, and no more.
    private func gatewayMounts() throws -> [HandlerMount] {
        [deviceMount, HandlerMount("/", try health())]
    }

    private var deviceMount: HandlerMount {
        HandlerMount(DeviceEndpoint.prefix, observed(deviceAPI, "device"))
    }

    private func health() throws -> RouteTable {
        var table = RouteTable()
        try HealthRoutes(checks: [
            ReadinessCheck("coordinator") { [capability] in
                capability.isRevoked ? "this node may no longer write" : nil
            },
            ReadinessCheck("mode") { [messaging, membership] in
                let mode = max(messaging.standing.mode, membership.askedMode)
                return mode == .active ? nil : "the node is \(mode.rawValue)"
            },
        ]).add(to: &table)
        return table
    }
}

extension ManagerConfiguration {
    /// Whether the device API stands at ``address``.
    var servesDevicesBesideTheRest: Bool {
        profile.role == .combined && gatewayAddress == nil
    }

    /// How devices are served in process.
    var exchangeSettings: DeviceExchange.Settings {
        var settings = DeviceExchange.Settings(
            clock: time,
            random: random,
            schedule: PollingSchedule(
                defaultFrequency: pollingFrequency,
                minimum: min(.seconds(1), pollingFrequency)
            )
        )
        guard profile.role == .combined else { return settings }
        settings.limits.exchangesPerMinute = exchangesPerMinute
        settings.limits.waiters = waitingDevices
        settings.limits.largeResultBytes = largeResultBytes
        return settings
    }

    /// Reads what only a combined node uses.
    mutating func readServing(_ config: ConfigReader) throws {
        switch config.string(forKey: "profile", default: Profile.manager.name) {
        case Profile.manager.name: profile = .manager
        case Profile.combined.name: profile = .combined
        case let other:
            throw ManagerConfigurationError(
                "profile is manager or combined, not \(other). A worker is run by reeve-worker, a "
                    + "profile of the product's own by its own program."
            )
        }
        for name in config.stringArray(forKey: "channels") ?? [] {
            channels[try ChannelName(validating: name)] = DirectoryDeployer()
        }
        if let port = config.int(forKey: "gateway.port") {
            gatewayAddress = ServerAddress(
                host: config.string(forKey: "gateway.host", default: "127.0.0.1"),
                port: port
            )
        }
        let perMinute = config.int(forKey: "exchange.perMinute", default: 600)
        exchangesPerMinute = perMinute > 0 ? perMinute : nil
        waitingDevices = config.int(forKey: "exchange.waiting", default: 1_024)
        largeResultBytes = config.int(forKey: "results.largestBytes", default: 16 << 20)
    }

    /// Refuses what a combined node cannot work with.
    func validateServing() throws {
        guard waitingDevices >= 0, largeResultBytes >= 0 else {
            throw ManagerConfigurationError(
                "exchange.waiting and results.largestBytes are not negative."
            )
        }
        guard let gatewayAddress else { return }
        guard (0...65_535).contains(gatewayAddress.port) else {
            throw ManagerConfigurationError(
                "gateway.port is 0 to 65535, not \(gatewayAddress.port)."
            )
        }
        guard gatewayAddress.port == 0 || gatewayAddress != address else {
            throw ManagerConfigurationError(
                "gateway.port and listen.port are one address. Leave gateway.port out to serve devices "
                    + "there, or choose another."
            )
        }
    }
}
#endif
