#if Server
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import OperationQueue
import XCTest

final class KeepingRoutesTests: XCTestCase {
    func test_backups_outsideTheRoots_areRefusedWithoutSayingWhatIsThere() async throws {
        let scene = try Scene()
        for path in ["/etc/passwd", "relative", "/no/such/place/f", scene.backups + "/../f"] {
            let answer = try await scene.admin.call(
                .post,
                "/admin/v1/backups",
                ["path": .string(path)]
            )
            XCTAssertEqual(answer.status, 403, "\(path): \(answer.text)")
            XCTAssertEqual(answer.code, "console.outside-backup-roots")
            XCTAssertEqual(answer.violations, [])
        }
        let taken = try await scene.admin.call(
            .post,
            "/admin/v1/backups",
            ["path": .string(scene.backups + "/store.db")]
        )
        XCTAssertEqual(taken.status, 201, taken.text)
        XCTAssertEqual(taken.violations, [])
    }

    func test_quota_onceUsedUp_isAnswered429WithRetryAfter() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let set = try await scene.admin.call(
            .put,
            "/admin/v1/quota",
            ["tenant": "default", "quota": ["openActivities": 1]]
        )
        XCTAssertEqual(set.status, 204, set.text)
        _ = try await scene.enqueue("tablet-17")
        let refused = try await scene.admin.call(
            .post,
            "/admin/v1/operations",
            ["target": ["devices": ["tablet-17"]], "code": "lock"]
        )
        XCTAssertEqual(refused.status, 429, refused.text)
        XCTAssertEqual(refused.code, "operations.quota-exceeded")
        XCTAssertEqual(refused.response.headerFields[.retryAfter], "60")
        XCTAssertEqual(refused.violations, [])
        let shown = try await scene.admin.send(.get, "/admin/v1/quota")
        XCTAssertEqual(shown.json?["quota"]?["openActivities"]?.integerValue, 1)
        XCTAssertEqual(shown.json?["devices"]?.integerValue, 1)
    }

    func test_purge_dryRun_countsAndChangesNothing() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let activity = try await scene.enqueue("tablet-17")
        _ = try await scene.admin.send(.post, "/admin/v1/activities/\(activity)/cancel")
        scene.time.advance(by: .seconds(100 * 86_400))
        let dry = try await scene.admin.call(.post, "/admin/v1/purge", ["dryRun": true])
        XCTAssertEqual(dry.json?["activities"]?.integerValue, 1, dry.text)
        let still = try await scene.admin.send(.get, "/admin/v1/activities/\(activity)")
        XCTAssertEqual(still.status, 200)
        let real = try await scene.admin.call(.post, "/admin/v1/purge", ["dryRun": false])
        XCTAssertEqual(real.json?["activities"]?.integerValue, 1, real.text)
        let gone = try await scene.admin.send(.get, "/admin/v1/activities/\(activity)")
        XCTAssertEqual(gone.status, 404)
    }
}
#endif
