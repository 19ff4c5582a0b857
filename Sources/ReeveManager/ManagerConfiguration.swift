#if Server && SQLite
public import ArtifactStore
public import ClusterMembership
public import ClusterRole
public import Configuration
public import DeviceRegistry
internal import Foundation
public import HTTPHandling
public import HummingbirdHosting
public import Logging
public import NodeCertificates
public import NotificationDispatch
public import OperationQueue

/// What a ``ManagerNode`` needs to know; everything but the node's name and directory has a default.
public struct ManagerConfiguration: Sendable {
    /// The node's name, stable across restarts.
    public var node: NodeID
    /// An absolute path. The node keeps its store, its objects and its keys here and shares it with
    /// nobody; it is made if it is missing.
    public var directory: String
    /// Whose devices, operations and channels the node's interfaces serve.
    public var tenant = TenantID.standard
    /// Where the admin API and the link listen. Workers dial it; it belongs into a private network.
    public var address = ServerAddress.loopback(port: 8_180)
    /// Where others reach ``address``, if that is not where the node listens: behind an address translation,
    /// or listening on every interface. `nil` for ``address``, and for nothing if that names every interface.
    public var advertisedAddress: String?
    /// What rollouts and messages call this node by, such as `zone` = `eu`.
    public var labels: [String: String] = [:]
    /// What a combined node can do, and the version of the node's software: releases that ask for more are
    /// not deployed by it.
    public var abilities = NodeAbilities()
    /// Who may call the admin API and the link, by bearer token. Workers hold `Permission.link` and are
    /// named like their node.
    public var identities: [String: Identity] = [:]
    /// Who else is believed: an OIDC issuer's tokens, a company's own. Asked after configured and stored
    /// tokens, in order.
    public var authenticators: [any BearerAuthenticator] = []
    /// Whether end users may call the node.
    public var access = ManagerAccess.private
    /// Where the user API listens with `ManagerAccess.public`.
    public var userAddress = ServerAddress.loopback(port: 8_181)
    /// What end users may ask of their devices; nothing unless said.
    public var userOperations: Set<OperationCode> = []
    /// Which load balancers are believed, and in which header fields.
    public var proxies = ProxyTrust()
    /// Who the certificates stand for that they pass on.
    public var forwardedCertificates: (any CertificateAuthenticator)?
    /// How long the audit log is kept.
    public var auditRetention = AuditRetention()
    /// The node's certificate, its key and whom it believes: with them it serves TLS 1.3, and the link
    /// is for nodes with certificates only. Without them connections are in the clear and tokens say
    /// who calls: for one machine, or a network that encrypts by itself. An application that serves
    /// HTTP itself and hands no certificates on (`HandlerRequest.peerCertificate`) leaves it `nil`.
    public var certificates: CertificateFiles?
    /// Whether every connection needs a certificate. Browsers and `curl` have none; the link asks for
    /// one either way.
    public var clientCertificates = ServerTLS.Clients.optional
    /// Told of callers that are turned away, beside the log and the audit trail.
    public var refusals: (any RefusalSink)?
    /// What a device must present to enrol; `nil` lets none enrol.
    public var enrolmentSecret: String?
    /// How often devices poll unless their row says otherwise.
    public var pollingFrequency = Duration.seconds(60)
    /// From when on a silent device counts as unreachable, and as inactive.
    public var liveness = LivenessRule()
    /// Directories below which the admin API may publish.
    public var publishRoots: [String] = []
    /// Directories of this machine that are published by themselves, each with its channel.
    public var watched: [ChannelName: String] = [:]
    /// Who decides when they are: whenever they changed and are at rest, or whoever says commit.
    public var watchMode = PublishMode.automatic
    /// Signs releases; `nil` for the key in the node's directory, which is made if it is missing.
    public var signer: (any ReleaseSigner)?
    /// Sign releases as well, where workers ask for more than one signature.
    public var cosigners: [any ReleaseSigner] = []
    /// Signs pointers; `nil` for the key in the node's directory.
    public var pointerSigner: (any ReleaseSigner)?
    /// How long a pointer says something: the longest a worker can be kept from news unnoticed.
    public var pointerLifetime = ReleasePointers.standardLifetime
    /// From how many of a channel's newest trees a difference is made when it is published. 1; workers on
    /// older trees have theirs made when they ask.
    public var updatesFrom = 1
    /// The other managers: they keep copies of objects, and what is missing here is pulled from them.
    public var objectPeers: [any ObjectPeer] = []
    /// Those of `objects.peers`, dialled once the node's certificate is open.
    var dialledPeers: [DialledManager] = []
    /// On how many managers an object is durable when a publish returns; `nil` for 2, or 1 without peers.
    public var objectCopies: Int?
    /// Which objects a collection of garbage leaves, and which releases are pinned.
    public var objectCare = ObjectCare.Settings()
    /// How often garbage is collected; `nil` for never. An hour.
    public var collectionInterval: Duration? = .seconds(3_600)
    /// How often the other managers are asked whether they still have the copies; `nil` for never. An hour.
    public var replicationInterval: Duration? = .seconds(3_600)
    /// How often every object is read and compared with its digest; `nil` for never. A day.
    public var scrubInterval: Duration? = .seconds(86_400)
    /// Asked before a tree is published.
    public var publishValidators: [any PublishValidator] = []
    /// Directories below which the admin API may write backups.
    public var backupRoots: [String] = []
    /// How long history is kept.
    public var retention = RetentionPolicy()
    /// How often history is looked at.
    public var retentionInterval = Duration.seconds(300)
    /// An absolute path of a directory that gets what is purged, as JSON lines; `nil` for none.
    public var archiveDirectory: String?
    /// How devices are woken, by the name in their registration.
    public var transports = TransportTable()
    /// Dials a node that an administrator asks for; without it only the node's link is asked.
    public var prober: (any NodeProber)?
    /// How webhooks are called; without it there are none.
    public var webhooks: (any WebhookTransport)?
    /// How often devices are asked for their information; `nil` for never.
    public var informationFrequency: Duration?
    /// What the node starts: `Profile.manager`, `Profile.combined`, or one of the product's own.
    public var profile = Profile.manager
    /// What a combined node deploys itself, each channel with its deployer; a profile without the
    /// worker's half leaves it alone.
    public var channels: [ChannelName: any Deployer] = [:]
    /// How often the deployers of ``channels`` are asked whether the active releases work.
    public var healthInterval = Duration.seconds(10)
    /// Where a combined node serves devices, and nothing but devices: this address may face the world while
    /// ``address`` stays in a private network. `nil` to serve them at ``address``, beside the rest. A
    /// profile without the worker's half serves no devices.
    public var gatewayAddress: ServerAddress?
    /// How often a device may exchange with a combined node, in a minute; `nil` for as often as it likes.
    /// 600, as at a worker.
    public var exchangesPerMinute: Int? = 600
    /// The most devices that wait in a long poll at a combined node at once; each takes a connection.
    public var waitingDevices = 1_024
    /// The most bytes of a result that a device streams to a combined node.
    public var largeResultBytes = 16 << 20
    /// Components of the product's own, started with the node's.
    public var components: [NodeComponent] = []
    public var time: any TimeSource = SystemTimeSource()
    public var random: any RandomSource = SystemRandomSource()
    public var logger = Logger(label: "reeve.manager")

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
    /// | `listen.host`, `listen.port` | default `127.0.0.1`, `8180` |
    /// | `advertise.address` | where others reach that, such as `10.0.0.2:8180`, if it is another address |
    /// | `labels` | what rollouts and messages call this node by, each `name=value` |
    /// | `software.version` | of this node's software, such as `2.10.3` |
    /// | `admin.token` | the bearer token of an administrator with every permission |
    /// | `link.tokens` | one `node=token` for each worker; not with certificates |
    /// | `manager.access` | `private` (default), or `public`: end users may call as well |
    /// | `users.host`, `users.port` | where the user API listens, default `127.0.0.1`, `8181` |
    /// | `users.operations` | the codes end users may ask of their devices |
    /// | `proxies.addresses` | addresses and ranges of load balancers that are believed |
    /// | `proxies.field` | `x-forwarded-for` (default) or `forwarded` |
    /// | `proxies.certificate-field` | `none` (default), `client-cert` or `x-forwarded-client-cert` |
    /// | `audit.days`, `audit.entries` | how long and how much the audit log keeps, default 400, 1000000 |
    /// | `link.tls.certificate`, `link.tls.key`, `link.tls.authority`, `link.tls.revoked` | see `CertificateFiles` |
    /// | `link.tls.clients` | `optional` (default) or `required`: whether browsers need a certificate too |
    /// | `enrolment.secret` | what devices present to enrol |
    /// | `polling.frequency` | seconds, default 60 |
    /// | `liveness.unreachable` | seconds of silence after which a device is unreachable, default 300 |
    /// | `liveness.inactive` | seconds of silence after which it is inactive, default 3600 |
    /// | `publish.roots` | directories below which the admin API may publish |
    /// | `publish.watch` | `channel=directory` for each directory that is published by itself |
    /// | `publish.mode` | `automatic` (default) or `manual`: only when told |
    /// | `publish.pointer-lifetime` | seconds, default 3600: how long workers can be kept from news unnoticed |
    /// | `publish.updates-from` | from how many older trees a difference is made at once, default 1, at most 15 |
    /// | `objects.peers` | one `node=address` for each other manager that keeps copies of objects |
    /// | `objects.peer-tokens` | one `node=token` for each of them: what this manager presents there; not with certificates |
    /// | `objects.tokens` | one `node=token` for each manager that keeps copies here |
    /// | `objects.copies` | on how many managers an object is durable when a publish returns; default 2, without peers 1 |
    /// | `objects.kept-releases` | how many of a channel's newest releases keep their bytes, default 10 |
    /// | `objects.pinned` | releases that keep their bytes, each `channel@number` |
    /// | `objects.collect.interval` | seconds between two collections of garbage, default 3600; 0 for never |
    /// | `objects.replicate.interval` | seconds between two questions whether other managers still have their copies, default 3600; 0 for never |
    /// | `objects.scrub.interval` | seconds between two readings of all objects, default 86400; 0 for never |
    /// | `backup.roots` | directories below which the admin API may write backups |
    /// | `retention.days` | how long closed activities are kept, default 90; 0 for ever |
    /// | `retention.activities` | the most closed activities a tenant keeps; no bound by default |
    /// | `retention.interval` | seconds between two looks, default 300 |
    /// | `retention.archive` | a directory that gets activities before they are purged |
    /// | `tasks.information.frequency` | seconds; without it devices are not asked |
    /// | `profile` | `manager` (default), or `combined`: the node also serves devices and deploys channels |
    ///
    /// A combined node reads these as well:
    ///
    /// | key | meaning |
    /// |--|--|
    /// | `gateway.host`, `gateway.port` | where devices reach it; without a port, where it listens for the rest |
    /// | `channels` | channels of plain files to keep at `channels/<name>/current` |
    /// | `capabilities` | names of what this node can do |
    /// | `health.interval` | seconds between two looks at active releases, default 10 |
    /// | `exchange.perMinute` | how often a device may come, default 600; 0 for no limit |
    /// | `exchange.waiting` | devices that may wait for work at once, default 1024 |
    /// | `results.largestBytes` | of one streamed result, default 16777216 |
    ///
    /// - Throws: `ClusterRoleError` with `invalidName`, ``ManagerConfigurationError``, or what the
    ///   reader throws for a missing key.
    public init(reading config: ConfigReader) throws {
        self.init(
            node: try NodeID(validating: try config.requiredString(forKey: "node.id")),
            directory: try config.requiredString(forKey: "node.directory")
        )
        if let name = config.string(forKey: "tenant") { tenant = try TenantID(validating: name) }
        address = ServerAddress(
            host: config.string(forKey: "listen.host", default: "127.0.0.1"),
            port: config.int(forKey: "listen.port", default: 8_180)
        )
        if let token = config.string(forKey: "admin.token", isSecret: true) {
            identities[token] = Identity(
                name: "admin",
                tenant: tenant,
                permissions: Permission.everything
            )
        }
        for pair in config.stringArray(forKey: "link.tokens", isSecret: true) ?? [] {
            guard let separator = pair.firstIndex(of: "=") else {
                throw ManagerConfigurationError(
                    "Each entry of link.tokens is written node=token; one has no equals sign."
                )
            }
            let worker = try NodeID(validating: String(pair[..<separator]))
            identities[String(pair[pair.index(after: separator)...])] = Identity(
                name: worker.rawValue,
                tenant: tenant,
                permissions: [.link]
            )
        }
        try readAccess(config)
        try readCertificates(config)
        enrolmentSecret = config.string(forKey: "enrolment.secret", isSecret: true)
        pollingFrequency = .seconds(config.double(forKey: "polling.frequency", default: 60))
        liveness.unreachableAfter = .seconds(
            config.double(forKey: "liveness.unreachable", default: 300)
        )
        liveness.inactiveAfter = .seconds(
            config.double(forKey: "liveness.inactive", default: 3_600)
        )
        publishRoots = config.stringArray(forKey: "publish.roots") ?? []
        for pair in config.stringArray(forKey: "publish.watch") ?? [] {
            guard let separator = pair.firstIndex(of: "=") else {
                throw ManagerConfigurationError(
                    "Each entry of publish.watch is written channel=directory; \(pair) is not."
                )
            }
            let channel = try ChannelName(validating: String(pair[..<separator]))
            watched[channel] = String(pair[pair.index(after: separator)...])
        }
        let mode = config.string(forKey: "publish.mode", default: watchMode.rawValue)
        guard let mode = PublishMode(rawValue: mode) else {
            throw ManagerConfigurationError("publish.mode is automatic or manual, not \(mode).")
        }
        watchMode = mode
        pointerLifetime = .seconds(
            config.double(forKey: "publish.pointer-lifetime", default: 3_600)
        )
        updatesFrom = config.int(forKey: "publish.updates-from", default: 1)
        try readObjects(config)
        backupRoots = config.stringArray(forKey: "backup.roots") ?? []
        let days = config.double(forKey: "retention.days", default: 90)
        retention.keepFor = days == 0 ? nil : .seconds(days * 86_400)
        retention.keepAtMost = config.int(forKey: "retention.activities")
        retentionInterval = .seconds(config.double(forKey: "retention.interval", default: 300))
        archiveDirectory = config.string(forKey: "retention.archive")
        informationFrequency = config.double(forKey: "tasks.information.frequency")
            .map { .seconds($0) }
        try readMembership(config)
        try readServing(config)
    }

    /// Refuses what cannot work, before anything is opened.
    func validate() throws {
        guard directory.hasPrefix("/") else {
            throw ManagerConfigurationError("node.directory is an absolute path, not \(directory).")
        }
        guard (0...65_535).contains(address.port) else {
            throw ManagerConfigurationError("listen.port is 0 to 65535, not \(address.port).")
        }
        try validateMembership()
        try validateServing()
        try validateAccess()
        guard pollingFrequency >= .milliseconds(100) else {
            throw ManagerConfigurationError("polling.frequency is at least 0.1 seconds.")
        }
        guard liveness.unreachableAfter >= .seconds(1),
            liveness.inactiveAfter >= liveness.unreachableAfter
        else {
            throw ManagerConfigurationError(
                "liveness.unreachable is at least 1 second, and liveness.inactive not less than it."
            )
        }
        guard retention.keepFor ?? .zero >= .zero, retention.keepAtMost ?? 0 >= 0,
            retentionInterval >= .seconds(1)
        else {
            throw ManagerConfigurationError(
                "retention.days and retention.activities are not negative, retention.interval is at least 1."
            )
        }
        guard pointerLifetime >= .seconds(10) else {
            throw ManagerConfigurationError("publish.pointer-lifetime is at least 10 seconds.")
        }
        try validateObjects()
        for (channel, path) in watched where !path.hasPrefix("/") {
            throw ManagerConfigurationError(
                "publish.watch names an absolute path for \(channel), not \(path)."
            )
        }
        guard archiveDirectory?.hasPrefix("/") ?? true else {
            throw ManagerConfigurationError("retention.archive is an absolute path.")
        }
        for token in identities.keys where token.utf8.count < 16 {
            throw ManagerConfigurationError(
                "A token has at least 16 characters; use 32 random bytes."
            )
        }
    }
}

/// A configuration that cannot work.
public struct ManagerConfigurationError: CodedError {
    public let codeName = "manager.invalid-configuration"
    public let message: String
    public let category = ErrorCategory.invalid

    public init(_ message: String) { self.message = message }
}
#endif
