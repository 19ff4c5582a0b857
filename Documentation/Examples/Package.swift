// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "reeve-examples",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "swift-reeve", path: "../.."),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.0"),
    ],
    targets: [
        .testTarget(
            name: "ExampleTests",
            dependencies: [
                .product(name: "ReeveManager", package: "swift-reeve"),
                .product(name: "ReeveWorker", package: "swift-reeve"),
                .product(name: "ClusterTestKit", package: "swift-reeve"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "FlyingFox", package: "FlyingFox"),
            ]
        )
    ],
    swiftLanguageModes: [.v6]
)
