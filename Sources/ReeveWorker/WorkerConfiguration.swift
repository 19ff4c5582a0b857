#if Server && SQLite
public import ArtifactStore
internal import ClusterLink
public import ClusterMembership
public import ClusterRole
public import Configuration
public import HummingbirdHosting
public import Logging
public import NodeCertificates

/// What a ``WorkerNode`` needs to know.
public struct WorkerConfiguration: Sendable {
    /// The node's name, stable across restarts; its token at the managers is this name's.
    public var node: NodeID
    /// An absolute path. The node keeps its replica, its spool and its releases here and shares it with
    /// nobody; it is made if it is missing.
    public var directory: String
    public var tenant = TenantID.standard
    /// Where devices and users reach it.
    public var address = ServerAddress.loopback(port: 8_280)
    /// Where others reach it, if that is not where it listens: behind an address translation, or listening
    /// on every interface. `nil` for ``address``, and for nothing if that names every interface.
    public var advertisedAddress: String?
    /// Finds managers beside ``managers``: by DNS, or by what the platform offers.
    public var discovery: (any MemberDiscovery)?
    /// Base addresses of the well-known managers, such as `http://10.0.0.2:8180`. At least one.
    public var managers: [String] = []
    /// The bearer token the managers know this node by, unless it has a certificate; and what
    /// operators present to this node.
    public var token = ""
    /// The node's certificate, its key and whom it believes: with them it dials managers with mutual
    /// TLS, whose addresses are `https`, and sends them no token.
    public var certificates: CertificateFiles?
    /// Channels to deploy, each with the deployer that loads its releases.
    public var channels: [ChannelName: any Deployer] = [:]
    /// Further channels, whose releases are loaded by the ``deployers`` of their kinds.
    public var keptChannels: Set<ChannelName> = []
    /// A deployer for each kind of artifact, for ``keptChannels``.
    public var deployers: [any Deployer] = [DirectoryDeployer()]
    /// Limits, intervals and modes of the channels; `nil` for the defaults. The node, its tenant,
    /// its clock and its randomness are this configuration's.
    public var syncing: SyncConfiguration?
    /// Base addresses of workers that are asked for releases while no manager answers.
    public var peers: [String] = []
    /// The bearer token the workers of a group share for that; empty if this one serves no peers.
    public var peerToken = ""
    /// Exported releases (`ReleaseExport`) that are taken while neither a manager nor a peer answers.
    public var imports: [String] = []
    /// What rollouts call this node by, such as `zone` = `eu`.
    public var labels: [String: String] = [:]
    /// What this node can do, and the version of its software: releases that ask for more are not offered
    /// to it.
    public var abilities = NodeAbilities()
    /// How often the deployers are asked whether the active releases work; what they say is reported.
    public var healthInterval = Duration.seconds(10)
    /// Keys whose releases are accepted.
    public var trusted = TrustedKeys()
    /// How often devices poll unless their row says otherwise.
    public var pollingFrequency = Duration.seconds(60)
    /// How often a device may exchange, in a minute; `nil` for as often as it likes. 600: ten times what
    /// the shortest polling asks for.
    public var exchangesPerMinute: Int? = 600
    /// The most devices that wait in a long poll at once; each takes a connection.
    public var waitingDevices = 1_024
    /// The most bytes of a result that a device streams.
    public var largeResultBytes = 16 << 20
    /// The most bytes the spool may hold before it refuses reports.
    public var spoolBytes = 256 * 1_024 * 1_024
    /// What the node starts: `Profile.worker`, or one of the product's own.
    public var profile = Profile.worker
    /// Components of the product's own, started with the node's.
    public var components: [NodeComponent] = []
    /// Handlers of the product's own, served beside the device API.
    public var mounts: [HandlerMount] = []
    public var time: any TimeSource = SystemTimeSource()
    public var random: any RandomSource = SystemRandomSource()
    public var logger = Logger(label: "reeve.worker")

    public init(node: NodeID, directory: String) {
        self.node = node
        self.directory = directory
    }

    /// Reads the configuration: file, environment, arguments, in the order of the reader's providers.
    ///
    /// | key | meaning |
    /// |--|--|
    /// | `node.id`, `node.directory` | required |
    /// | `tenant` | default `default` |
    /// | `listen.host`, `listen.port` | default `127.0.0.1`, `8280` |
    /// | `advertise.address` | where others reach it, such as `10.0.0.4:8280`, if that is another address |
    /// | `link.managers` | required, unless there is `link.dns` |
    /// | `link.dns`, `link.dns.port` | a name of DNS with a record for each manager, and their port, default 8180 |
    /// | `link.token` | required without a certificate |
    /// | `link.tls.certificate`, `link.tls.key`, `link.tls.authority`, `link.tls.revoked` | see `CertificateFiles` |
    /// | `channels` | channels of plain files to keep at `channels/<name>/current` |
    /// | `channels.mode` | `automatic` (the default) or `manual`: releases are taken when somebody says so |
    /// | `channels.carry-check` | `marks` (the default) or `digests`: how unchanged files are made sure of before an update |
    /// | `import` | files that `reeve export` wrote, for a start with every manager down |
    /// | `peers.addresses`, `peers.token` | workers to ask while no manager answers, and the token they share |
    /// | `labels` | what rollouts call this node by, each `name=value` |
    /// | `capabilities` | names of what this node can do |
    /// | `software.version` | of this node's software, such as `2.10.3` |
    /// | `health.interval` | seconds between two looks at active releases, default 10 |
    /// | `trust.keys` | public keys of publishers, 64 hexadecimal digits each |
    /// | `trust.root` | a signed root record in a file, instead of `trust.keys` |
    /// | `polling.frequency` | seconds, default 60 |
    /// | `exchange.perMinute` | how often a device may come, default 600; 0 for no limit |
    /// | `exchange.waiting` | devices that may wait for work at once, default 1024 |
    /// | `results.largestBytes` | of one streamed result, default 16777216 |
    ///
    /// Deployers of your own are added to ``channels`` afterwards.
    public init(reading config: ConfigReader) throws {
        self.init(
            node: try NodeID(validating: try config.requiredString(forKey: "node.id")),
            directory: try config.requiredString(forKey: "node.directory")
        )
        if let name = config.string(forKey: "tenant") { tenant = try TenantID(validating: name) }
        address = ServerAddress(
            host: config.string(forKey: "listen.host", default: "127.0.0.1"),
            port: config.int(forKey: "listen.port", default: 8_280)
        )
        advertisedAddress = config.string(forKey: "advertise.address")
        managers = config.stringArray(forKey: "link.managers") ?? []
        if let name = config.string(forKey: "link.dns") {
            discovery = DNSDiscovery(
                name: name,
                port: config.int(forKey: "link.dns.port", default: 8_180)
            )
        } else if managers.isEmpty {
            managers = try config.requiredStringArray(forKey: "link.managers")
        }
        certificates = try CertificateFiles(reading: config)
        token =
            certificates == nil
            ? try config.requiredString(forKey: "link.token", isSecret: true)
            : config.string(forKey: "link.token", isSecret: true) ?? ""
        for name in config.stringArray(forKey: "channels") ?? [] {
            channels[try ChannelName(validating: name)] = DirectoryDeployer()
        }
        if let mode = config.string(forKey: "channels.mode") {
            guard let mode = SyncMode(rawValue: mode) else {
                throw WorkerConfigurationError("channels.mode is automatic or manual, not \(mode).")
            }
            var settings = SyncConfiguration(node: node)
            settings.mode = mode
            syncing = settings
        }
        if let check = config.string(forKey: "channels.carry-check") {
            guard let check = CarryCheck(rawValue: check) else {
                throw WorkerConfigurationError(
                    "channels.carry-check is marks or digests, not \(check)."
                )
            }
            var settings = syncing ?? SyncConfiguration(node: node)
            settings.carryCheck = check
            syncing = settings
        }
        imports = config.stringArray(forKey: "import") ?? []
        peers = config.stringArray(forKey: "peers.addresses") ?? []
        peerToken = config.string(forKey: "peers.token", isSecret: true) ?? ""
        labels = try ReleaseNodeProperties.labels(
            parsing: config.stringArray(forKey: "labels") ?? []
        )
        abilities = try NodeAbilities(
            parsing: config.stringArray(forKey: "capabilities") ?? [],
            softwareVersion: config.string(forKey: "software.version")
        )
        healthInterval = .seconds(config.double(forKey: "health.interval", default: 10))
        trusted = TrustedKeys(
            try (config.stringArray(forKey: "trust.keys") ?? []).map { key in
                try ReleasePublicKey(parsing: key)
            }
        )
        if let path = config.string(forKey: "trust.root") {
            trusted = try TrustedKeys(pinningFile: path)
        }
        pollingFrequency = .seconds(config.double(forKey: "polling.frequency", default: 60))
        let perMinute = config.int(forKey: "exchange.perMinute", default: 600)
        exchangesPerMinute = perMinute > 0 ? perMinute : nil
        waitingDevices = config.int(forKey: "exchange.waiting", default: 1_024)
        largeResultBytes = config.int(forKey: "results.largestBytes", default: 16 << 20)
    }

    /// What the node tells others to dial; empty if nobody can.
    var advertised: String {
        let own = MemberAddress(listeningAt: address.host, port: address.port)
        return advertisedAddress ?? own?.description ?? ""
    }

    func validate() throws {
        guard directory.hasPrefix("/") else {
            throw WorkerConfigurationError("node.directory is an absolute path, not \(directory).")
        }
        guard !managers.isEmpty || discovery != nil else {
            throw WorkerConfigurationError("link.managers names at least one manager.")
        }
        guard healthInterval >= .milliseconds(100) else {
            throw WorkerConfigurationError("health.interval is at least 0.1 seconds.")
        }
        if let advertisedAddress {
            do { _ = try MemberAddress(validating: advertisedAddress) } catch {
                throw WorkerConfigurationError("advertise.address: \(error.message)")
            }
        }
        guard (0...65_535).contains(address.port) else {
            throw WorkerConfigurationError("listen.port is 0 to 65535, not \(address.port).")
        }
    }
}

/// A configuration that cannot work.
public struct WorkerConfigurationError: CodedError {
    public let codeName = "worker.invalid-configuration"
    public let message: String
    public let category = ErrorCategory.invalid

    public init(_ message: String) { self.message = message }
}
#endif
