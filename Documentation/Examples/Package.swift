// swift-tools-version: 6.2
import PackageDescription

func reeve(_ product: String) -> Target.Dependency {
    .product(name: product, package: "swift-reeve")
}

let package = Package(
    name: "reeve-examples",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "swift-reeve", path: "../.."),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .target(
            name: "Examples",
            dependencies: [
                reeve("ReeveManager"), reeve("ReeveWorker"),
                reeve("HTTPHandling"), reeve("HummingbirdHosting"),
                reeve("ClusterRole"), reeve("ArtifactStore"), reeve("DeviceRegistry"),
                reeve("OperationQueue"), reeve("NotificationDispatch"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "FlyingFox", package: "FlyingFox"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .testTarget(
            name: "ExampleTests",
            dependencies: [
                "Examples", reeve("ReeveManager"), reeve("ReeveWorker"), reeve("ClusterTestKit"),
                reeve("ClusterRole"), reeve("ArtifactStore"), reeve("DeviceRegistry"),
                reeve("OperationQueue"), reeve("NotificationDispatch"),
                reeve("HTTPHandling"), reeve("DeviceGateway"), reeve("HummingbirdHosting"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "FlyingFox", package: "FlyingFox"),
                .product(name: "FlyingSocks", package: "FlyingFox"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
    ],
    swiftLanguageModes: [.v6]
)
