import ClusterRole
import DeviceRegistry
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import ReeveManager
import XCTest

@testable import Examples

final class HummingbirdManagerTests: XCTestCase {
    func test_application_asAManager_administersBehindItsOwnLogin() async throws {
        let directory = try TemporaryDirectory()
        var configuration = ManagerConfiguration(
            node: "shop-1",
            directory: directory.path + "/node"
        )
        configuration.logger = quiet
        let manager = try await ManagerNode.open(configuration)
        _ = try await manager.administration.enrol("till-1", groups: ["tills"])
        let pages = try directory.pages("one")

        try await shop(manager, users: ["session=1": "ann"]).test(.live) { client in
            let activity = try await release(pages, with: manager)
            let session: HTTPFields = [.cookie: "session=1", .contentType: "application/json"]
            let admin = "/fleet/admin/v1"
            for path in ["/orders", admin + "/channels"] {
                let refused = try await client.execute(uri: path, method: .get)
                XCTAssertEqual(refused.status, .unauthorized, path)
            }
            for (path, expected) in [
                ("/orders", "The orders of ann."),
                (admin + "/channels", "shop/pages"),
                (admin + "/activities/\(activity)", "reload"),
            ] {
                let answer = try await client.execute(uri: path, method: .get, headers: session)
                XCTAssertEqual(answer.status, .ok, path)
                let text = String(buffer: answer.body)
                XCTAssertTrue(text.contains(expected), text)
            }
            let enqueued = try await client.execute(
                uri: admin + "/operations",
                method: .post,
                headers: session,
                body: ByteBuffer(string: #"{"target":{"group":"tills"},"code":"lock"}"#)
            )
            XCTAssertEqual(enqueued.status.kind, .successful, String(buffer: enqueued.body))
        }
    }
}
