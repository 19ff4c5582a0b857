import ClusterRole
import DeviceRegistry
import HummingbirdHosting
import OperationQueue
import ReeveManager
import ServiceLifecycle
import XCTest

@testable import Examples

final class EmbeddingTests: XCTestCase {
    func test_runShop_publishesEnqueuesAndServesUntilShutDown() async throws {
        let directory = try TemporaryDirectory()
        let pages = try directory.pages("one")
        var configuration = ManagerConfiguration(
            node: "shop-1",
            directory: directory.path + "/node"
        )
        configuration.logger = quiet
        configuration.address = .loopback()
        let before = try await ManagerNode.open(configuration)
        _ = try await before.administration.enrol("till-1", groups: ["tills"])
        try await before.close()

        let (starts, started) = AsyncStream<Void>.makeStream()
        configuration.components = [
            NodeComponent("announcement", roles: [.manager]) { Announcement(started: started) }
        ]
        try await running(Shop(configuration: configuration, pages: pages)) {
            var iterator = starts.makeAsyncIterator()
            _ = await iterator.next()
        }

        let after = try await ManagerNode.open(configuration)
        let release = try await after.publisher.latest(of: "shop/pages", tenant: .standard)
        XCTAssertNotNil(release)
        let activities = try await after.activities.activities().activities
        XCTAssertEqual(activities.map(\.addressed), [1])
        try await after.close()
    }
}

private struct Shop: Service {
    let configuration: ManagerConfiguration
    let pages: String

    func run() async throws { try await runShop(configuration, pages: pages) }
}

/// Says that the node has started, and stays until it is shut down.
private struct Announcement: Service {
    let started: AsyncStream<Void>.Continuation

    func run() async throws {
        started.yield()
        try await gracefulShutdown()
    }
}
