import Foundation
// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatWarning("ExplicitSendable", as: .warning),
]

/// A dependency that exists only while `trait` is on.
func product(_ name: String, _ package: String, trait: String? = nil) -> Target.Dependency {
    .product(name: name, package: package, condition: trait.flatMap { .when(traits: [$0]) })
}

let collections = product("OrderedCollections", "swift-collections")
let deques = product("DequeModule", "swift-collections")
let logging = product("Logging", "swift-log")
let metrics = product("Metrics", "swift-metrics")
let tracing = product("Tracing", "swift-distributed-tracing")
let lifecycle = product("ServiceLifecycle", "swift-service-lifecycle")
let signals = product("UnixSignals", "swift-service-lifecycle")
let crypto = product("Crypto", "swift-crypto")
let grdb = product("GRDB", "GRDB.swift", trait: "SQLite")
let sqlite3 = product("GRDBSQLite", "GRDB.swift", trait: "SQLite")
let httpTypes = product("HTTPTypes", "swift-http-types", trait: "Server")
let hummingbird = product("Hummingbird", "hummingbird", trait: "Server")
let hummingbirdCore = product("HummingbirdCore", "hummingbird", trait: "Server")
let mustache = product("Mustache", "swift-mustache", trait: "Server")
let configuration = product("Configuration", "swift-configuration", trait: "Server")
let configurationAlways = product("Configuration", "swift-configuration")
let argumentParser = product("ArgumentParser", "swift-argument-parser", trait: "Server")
let httpClientForServer = product("AsyncHTTPClient", "async-http-client", trait: "Server")
let nio = product("NIOCore", "swift-nio", trait: "Server")
let nioHTTP1 = product("NIOHTTP1", "swift-nio", trait: "Server")
let nioForPush = product("NIOCore", "swift-nio", trait: "Push")
let nioHTTP1ForPush = product("NIOHTTP1", "swift-nio", trait: "Push")
let httpClientForPush = product("AsyncHTTPClient", "async-http-client", trait: "Push")
let hummingbirdHTTP2 = product("HummingbirdHTTP2", "hummingbird", trait: "Server")
let nioTLS = product("NIOTLS", "swift-nio", trait: "Server")
let nioSSL = product("NIOSSL", "swift-nio-ssl", trait: "Server")
let x509 = product("X509", "swift-certificates", trait: "Server")
let asn1 = product("SwiftASN1", "swift-asn1", trait: "Server")

/// The modules every consumer may link: no Foundation, no NIO, no SQLite. ArtifactConfiguration alone
/// brings Foundation along, with swift-configuration.
let coreModules: [Target] = [
    .target(
        name: "ClusterRole",
        dependencies: [crypto, logging, lifecycle],
        swiftSettings: strict
    ),
    .target(
        name: "ClusterMembership",
        dependencies: ["ClusterRole", logging, metrics, lifecycle],
        swiftSettings: strict
    ),
    .target(
        name: "ArtifactStore",
        dependencies: [
            "ClusterRole", "CReeveSystem", "CZstandard", crypto, logging, metrics, tracing,
            lifecycle,
        ],
        swiftSettings: strict
    ),
    .target(
        name: "ArtifactConfiguration",
        dependencies: ["ArtifactStore", "ClusterRole", configurationAlways],
        swiftSettings: strict
    ),
    .target(
        name: "DeviceRegistry",
        dependencies: ["ClusterRole", crypto, logging, metrics, lifecycle],
        swiftSettings: strict
    ),
    .target(
        name: "OperationQueue",
        dependencies: [
            "ClusterRole", "DeviceRegistry", collections, logging, metrics, tracing, lifecycle,
        ],
        swiftSettings: strict
    ),
    .target(
        name: "NotificationDispatch",
        dependencies: [
            "ClusterRole", "DeviceRegistry", "OperationQueue", logging, metrics,
            tracing,
            lifecycle,
        ],
        swiftSettings: strict
    ),
    .target(
        name: "ClusterTestKit",
        dependencies: [
            "ClusterRole", "ClusterMembership", "ArtifactStore", "DeviceRegistry", "OperationQueue",
            "NotificationDispatch", "CReeveSimulation", logging,
        ],
        swiftSettings: strict
    ),
    .target(name: "CReeveSystem"),
    .target(name: "CReeveSimulation"),
    .target(name: "CZstandard"),
]

/// Trait `SQLite`: the embedded default.
let sqliteModules: [Target] = [
    .target(
        name: "SQLiteEngine",
        dependencies: ["ClusterRole", grdb, sqlite3],
        path: "Sources/SQLiteStorage/SQLiteEngine",
        swiftSettings: strict
    ),
    .target(
        name: "SQLiteStore",
        dependencies: [
            "SQLiteEngine", "ClusterRole", "ClusterMembership", "ArtifactStore", "DeviceRegistry",
            "OperationQueue", "NotificationDispatch",
        ],
        path: "Sources/SQLiteStorage/SQLiteStore",
        swiftSettings: strict
    ),
    .target(
        name: "SQLiteReplica",
        dependencies: [
            "SQLiteEngine", "ClusterRole", "DeviceRegistry", "OperationQueue", logging,
            metrics,
        ],
        path: "Sources/SQLiteStorage/SQLiteReplica",
        swiftSettings: strict
    ),
]

/// Traits `Server` and `Push`: everything that speaks HTTP.
let serverModules: [Target] = [
    .target(
        name: "NodeCertificates",
        dependencies: [
            "ClusterRole", x509, asn1, crypto, configuration, lifecycle, logging, metrics,
        ],
        swiftSettings: strict
    ),
    .target(
        name: "HTTPHandling",
        dependencies: ["ClusterRole", httpTypes, crypto, logging, metrics, tracing],
        swiftSettings: strict
    ),
    .target(
        name: "DeviceGateway",
        dependencies: [
            "HTTPHandling", "ClusterRole", "DeviceRegistry", "OperationQueue", httpTypes, logging,
        ],
        swiftSettings: strict
    ),
    .target(
        name: "ManagerConsole",
        dependencies: [
            "HTTPHandling", "ClusterRole", "ClusterMembership", "ArtifactStore", "DeviceRegistry",
            "OperationQueue", "NotificationDispatch", httpTypes, mustache,
        ],
        swiftSettings: strict
    ),
    .target(
        name: "ClusterTransport",
        dependencies: [
            "HTTPHandling", "ClusterRole", "ClusterMembership", "ArtifactStore", "DeviceRegistry",
            "OperationQueue", httpTypes, lifecycle, logging,
        ],
        path: "Sources/ClusterTransport/Server",
        swiftSettings: strict
    ),
    .target(
        name: "ClusterLink",
        dependencies: [
            "ClusterTransport", "ClusterRole", "ClusterMembership", "ArtifactStore",
            "DeviceRegistry",
            "OperationQueue", "NodeCertificates", httpClientForServer, nio, nioHTTP1, nioSSL,
            lifecycle, logging, metrics,
        ],
        path: "Sources/ClusterTransport/Client",
        swiftSettings: strict
    ),
    .target(
        name: "HummingbirdHosting",
        dependencies: [
            "HTTPHandling", "ClusterRole", "NodeCertificates", httpTypes, hummingbird,
            hummingbirdCore, hummingbirdHTTP2, nio, nioTLS, nioSSL, lifecycle, logging,
        ],
        swiftSettings: strict
    ),
    .target(
        name: "PushTransports",
        dependencies: [
            "NotificationDispatch", "DeviceRegistry", "ClusterRole", httpClientForPush, nioForPush,
            nioHTTP1ForPush, lifecycle, logging,
        ],
        swiftSettings: strict
    ),
]

/// A manager and a worker put together from the modules, each linkable without the other.
let nodes: [Target] = [
    .target(
        name: "ReeveWorker",
        dependencies: [
            "ClusterRole", "ClusterMembership", "ArtifactStore", "DeviceRegistry", "OperationQueue",
            "SQLiteReplica", "HTTPHandling", "DeviceGateway", "ClusterTransport", "ClusterLink",
            "HummingbirdHosting", "NodeCertificates",
            configuration, lifecycle, logging,
        ],
        swiftSettings: strict
    ),
    .target(
        name: "ReeveManager",
        dependencies: [
            "ClusterRole", "ClusterMembership", "ArtifactStore", "DeviceRegistry", "OperationQueue",
            "NotificationDispatch", "SQLiteStore", "HTTPHandling", "ManagerConsole",
            "DeviceGateway", "ClusterTransport", "ClusterLink", "HummingbirdHosting",
            "NodeCertificates", configuration, lifecycle,
            logging,
        ],
        swiftSettings: strict
    ),
]

let commands: [Target] = [
    .target(
        name: "WorkerCommandLine",
        dependencies: [
            "ReeveWorker", "ClusterRole", configuration, argumentParser, lifecycle, signals,
            logging,
        ],
        path: "Sources/reeve-worker/CommandLine",
        swiftSettings: strict
    ),
    .executableTarget(
        name: "reeve-worker",
        dependencies: ["WorkerCommandLine", argumentParser],
        path: "Sources/reeve-worker/Main",
        swiftSettings: strict
    ),
    .executableTarget(
        name: "reeve",
        dependencies: [
            "WorkerCommandLine", "ReeveManager", "PushTransports", "NotificationDispatch",
            "ArtifactStore", "ClusterLink", "ClusterRole", "HTTPHandling", "HummingbirdHosting",
            "NodeCertificates", argumentParser,
            httpTypes, httpClientForServer, nio, nioHTTP1, lifecycle, signals, logging,
        ],
        swiftSettings: strict
    ),
]

/// What a consumer may name.
let libraries = [
    "ClusterRole", "ClusterMembership", "ArtifactStore", "ArtifactConfiguration", "DeviceRegistry",
    "OperationQueue", "NotificationDispatch", "ClusterTestKit", "SQLiteStore", "SQLiteReplica",
    "HTTPHandling", "NodeCertificates",
    "DeviceGateway", "ManagerConsole", "ClusterTransport", "ClusterLink", "HummingbirdHosting",
    "PushTransports", "ReeveManager", "ReeveWorker",
]

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let core: [Target.Dependency] = [
    "ClusterRole", "ClusterMembership", "ArtifactStore", "DeviceRegistry", "OperationQueue",
    "NotificationDispatch", "ClusterTestKit", lifecycle, logging, metrics,
    product("ServiceLifecycleTestKit", "swift-service-lifecycle"),
]
let testTargets: [Target] = [
    tests("ClusterRoleTests", ["ClusterRole", logging, lifecycle]),
    tests("ClusterMembershipTests", core),
    .target(name: "FileFaultSupport", path: "Tests/FileFaultSupport"),
    tests(
        "ArtifactStoreTests",
        core + [
            "ArtifactConfiguration", "FileFaultSupport", "HTTPHandling", "HummingbirdHosting",
            configurationAlways, httpClientForServer, nio,
        ]
    ),
    tests("DeviceRegistryTests", core),
    tests("OperationQueueTests", core),
    tests("NotificationDispatchTests", core),
    tests("ClusterTestKitTests", core),
    tests("ConformanceTests", core + ["SQLiteStore", "SQLiteReplica"]),
    tests("SQLiteStoreTests", core + ["SQLiteEngine", "SQLiteStore"]),
    tests("SQLiteReplicaTests", core + ["SQLiteEngine", "SQLiteReplica"]),
    .target(
        name: "CrashImageSupport",
        dependencies: [sqlite3],
        path: "Tests/CrashImageSupport"
    ),
    tests(
        "StorageFaultTests",
        core + ["SQLiteEngine", "SQLiteStore", "SQLiteReplica", "CrashImageSupport"]
    ),
    tests(
        "HTTPHandlingTests",
        [
            "HTTPHandling", "ClusterRole", httpTypes, crypto, logging, metrics, tracing,
            product("MetricsTestKit", "swift-metrics", trait: "Server"),
            product("InMemoryTracing", "swift-distributed-tracing", trait: "Server"),
        ]
    ),
    tests(
        "HummingbirdHostingTests",
        [
            "HummingbirdHosting", "HTTPHandling", "ClusterRole", "NodeCertificates", httpTypes,
            hummingbird, lifecycle, logging,
        ]
    ),
    .target(
        name: "HTTPTestSupport",
        dependencies: ["HTTPHandling", httpTypes, logging],
        path: "Tests/HTTPTestSupport",
        swiftSettings: strict
    ),
    tests(
        "DeviceGatewayTests",
        core + [
            "HTTPTestSupport",
            "DeviceGateway", "HTTPHandling", "HummingbirdHosting", httpTypes,
        ]
    ),
    tests(
        "ManagerConsoleTests",
        core + [
            "HTTPTestSupport",
            "ManagerConsole", "HTTPHandling", "HummingbirdHosting", httpTypes,
        ]
    ),
    tests(
        "ClusterTransportTests",
        core + [
            "HTTPTestSupport",
            "ClusterTransport", "ClusterLink", "SQLiteReplica", "HummingbirdHosting",
            "HTTPHandling", "NodeCertificates", httpTypes, httpClientForServer, nio, nioHTTP1,
            nioSSL,
        ]
    ),
    tests(
        "NodeCertificatesTests",
        ["NodeCertificates", "ClusterRole", "ClusterTestKit", x509, asn1, crypto, logging]
    ),
    tests("PushTransportsTests", core + ["PushTransports"]),
    tests(
        "ProcessTests",
        core + [
            "reeve", "reeve-worker", "ClusterLink", "HTTPHandling", "HummingbirdHosting",
            "NodeCertificates", "ReeveManager", "ReeveWorker", configuration, nio, nioHTTP1,
            nioSSL, httpClientForServer,
        ]
    ),
    tests("HouseTests", libraries.map { .target(name: $0) }),
]

/// Documentation is built with `REEVE_DOCUMENTATION=1`; nobody else fetches the plugin.
let documentation: [Package.Dependency] =
    Context.environment["REEVE_DOCUMENTATION"] == nil
    ? [] : [.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0")]

let package = Package(
    name: "swift-reeve",
    platforms: [.macOS(.v15)],
    products: libraries.map { .library(name: $0, targets: [$0]) } + [
        .executable(name: "reeve", targets: ["reeve"]),
        .executable(name: "reeve-worker", targets: ["reeve-worker"]),
    ],
    traits: [
        .trait(name: "SQLite", description: "The embedded store, replica and spool on libsqlite3."),
        .trait(name: "Server", description: "The HTTP modules and the commands."),
        .trait(name: "Push", description: "Push transports."),
        .default(enabledTraits: ["SQLite", "Server", "Push"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.19.0"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
        .package(
            url: "https://github.com/apple/swift-configuration",
            from: "1.4.0",
            traits: [.defaults, "CommandLineArguments"]
        ),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    ] + documentation,
    targets: coreModules + sqliteModules + serverModules + nodes + commands + testTargets,
    swiftLanguageModes: [.v6]
)
