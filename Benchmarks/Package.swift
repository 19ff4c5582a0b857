// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "reeve-benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "swift-reeve", path: ".."),
        // Its traits only add allocation counters that read nothing on this platform.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "ReeveBenchmarks",
            dependencies: [
                .product(name: "Benchmark", package: "benchmark"),
                .product(name: "ArtifactStore", package: "swift-reeve"),
                .product(name: "ClusterMembership", package: "swift-reeve"),
                .product(name: "ClusterRole", package: "swift-reeve"),
                .product(name: "DeviceRegistry", package: "swift-reeve"),
                .product(name: "OperationQueue", package: "swift-reeve"),
                .product(name: "SQLiteReplica", package: "swift-reeve"),
                .product(name: "SQLiteStore", package: "swift-reeve"),
            ],
            path: "Benchmarks/ReeveBenchmarks",
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]
        ),
        // The same work as the programs of Peers/, side by side with them: see `side-by-side`.
        .executableTarget(
            name: "ReeveSideBySide",
            dependencies: [
                .product(name: "ClusterRole", package: "swift-reeve"),
                .product(name: "DeviceRegistry", package: "swift-reeve"),
                .product(name: "OperationQueue", package: "swift-reeve"),
                .product(name: "NotificationDispatch", package: "swift-reeve"),
                .product(name: "SQLiteReplica", package: "swift-reeve"),
                .product(name: "SQLiteStore", package: "swift-reeve"),
            ],
            path: "SideBySide"
        ),
        // Deployment synchronization as commands, to stand beside rsync and git: see `sync`.
        .executableTarget(
            name: "ReeveSync",
            dependencies: [
                .product(name: "ArtifactStore", package: "swift-reeve"),
                .product(name: "ClusterLink", package: "swift-reeve"),
                .product(name: "ClusterMembership", package: "swift-reeve"),
                .product(name: "ClusterRole", package: "swift-reeve"),
                .product(name: "ClusterTransport", package: "swift-reeve"),
                .product(name: "DeviceRegistry", package: "swift-reeve"),
                .product(name: "HTTPHandling", package: "swift-reeve"),
                .product(name: "HummingbirdHosting", package: "swift-reeve"),
                .product(name: "OperationQueue", package: "swift-reeve"),
            ],
            path: "Sync"
        ),
        // The coordinator's lease, measured; the processes beside it are measured by Processes/: see `cluster`.
        .executableTarget(
            name: "ReeveLease",
            dependencies: [
                .product(name: "ClusterMembership", package: "swift-reeve"),
                .product(name: "ClusterRole", package: "swift-reeve"),
            ],
            path: "Lease"
        ),
    ],
    swiftLanguageModes: [.v6]
)
