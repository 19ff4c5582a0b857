import ArtifactStore
import ClusterRole
import DeviceRegistry
import HTTPHandling
import Hummingbird
import HummingbirdTesting
import ReeveManager
import ReeveWorker
import XCTest

@testable import Examples

final class PageWorkerTests: XCTestCase {
    func test_worker_whenTheNextReleaseComes_switchesWithoutDroppingARequest() async throws {
        let directory = try TemporaryDirectory()
        let token = String(repeating: "w", count: 32)
        var configuration = ManagerConfiguration(
            node: "manager-1",
            directory: directory.path + "/manager"
        )
        configuration.logger = quiet
        configuration.identities[token] = Identity(name: "worker-1", permissions: [.link])
        let manager = try await ManagerNode.open(configuration)
        _ = try await manager.administration.enrol("till-1", groups: ["tills"])
        let (first, second) = (try directory.pages("one"), try directory.pages("two"))

        try await shop(manager, users: [:]).test(.live) { managing in
            let port = try XCTUnwrap(managing.port)
            var worker = WorkerConfiguration(
                node: "worker-1",
                directory: directory.path + "/worker"
            )
            worker.logger = quiet
            worker.managers = ["http://localhost:\(port)"]
            worker.token = token
            worker.trusted = TrustedKeys(manager.publicKey)
            try await pageServer(worker).test(.live) { client in
                _ = try await release(first, with: manager)
                try await awaitPage("one", client)
                async let publishing = release(second, with: manager)
                try await switchOver(from: "one", to: "two", client)
                _ = try await publishing
            }
        }
    }
}

/// More requests than a release takes to arrive, on any machine.
private let patience = 200_000

private func awaitPage(_ page: String, _ client: some TestClientProtocol) async throws {
    for _ in 0..<patience {
        let answer = try await client.execute(uri: "/", method: .get)
        if answer.status == .ok, String(buffer: answer.body) == page { return }
    }
    XCTFail("The first release never came.")
}

private func switchOver(
    from old: String,
    to new: String,
    _ client: some TestClientProtocol
) async throws {
    var after = 0
    for _ in 0..<patience {
        let answer = try await client.execute(uri: "/", method: .get)
        guard answer.status == .ok else { return XCTFail("A request was dropped.") }
        let page = String(buffer: answer.body)
        XCTAssertTrue(page == new || page == old && after == 0, page)
        if page == new { after += 1 }
        if after == 200 { return }
    }
    XCTFail("The second release never came.")
}
