#if Server
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import NotificationDispatch
import OperationQueue
import XCTest

final class ReleaseRoutesTests: XCTestCase {
    private let path = "/admin/v1/channels/web%2Fsite/releases"

    func test_release_isPublishedUpdatedRepeatedAndRolledBack() async throws {
        let scene = try Scene()
        let noise = Data(scene.random.bytes(20_000)).base64EncodedString()
        let tree = try scene.tree("site", ["a": noise])
        let body: JSONValue = ["directory": .string(tree), "kind": "web-application"]
        let first = try await scene.admin.call(.post, path, body)
        XCTAssertEqual(first.status, 201, first.text)
        XCTAssertEqual(first.violations, [])
        XCTAssertEqual(first.json?["number"], 1)
        XCTAssertEqual(first.json?["files"], 1)
        XCTAssertEqual(first.json?["repeated"], false)
        let repeated = try await scene.admin.call(.post, path, body)
        XCTAssertEqual(repeated.json?["repeated"], true)
        XCTAssertEqual(repeated.json?["number"], 1)
        let forced = try await scene.admin.call(
            .post,
            path,
            ["directory": .string(tree), "kind": "web-application", "force": true]
        )
        XCTAssertEqual(forced.json?["number"], 2)
        _ = try scene.tree("site", ["b": "two"])
        let update = try await scene.admin.call(.post, path, body)
        XCTAssertEqual(update.json?["number"], 3)
        XCTAssertNotEqual(update.json?["root"], first.json?["root"])
        let full = update.json?["fullBundleBytes"]?.integerValue ?? 0
        let incremental = update.json?["incrementalBundleBytes"]?.integerValue ?? .max
        XCTAssertLessThan(incremental * 10, full)
        let back = try await scene.admin.call(
            .post,
            "/admin/v1/channels/web%2Fsite/rollback",
            ["to": 1]
        )
        XCTAssertEqual(back.status, 201, back.text)
        XCTAssertEqual(back.violations, [])
        XCTAssertEqual(back.json?["number"], 4)
        XCTAssertEqual(back.json?["root"], first.json?["root"])
    }

    func test_releases_arePagedNewestFirst_withWhatEachNodeSaid() async throws {
        let scene = try Scene()
        let tree = try scene.tree("site", ["a": "1"])
        let body: JSONValue = ["directory": .string(tree), "force": true]
        for _ in 0..<3 { _ = try await scene.admin.call(.post, path, body) }
        let channel = ChannelName(rawValue: "web/site")
        let latest = try await scene.releases.latest(of: channel, tenant: .standard)
        let release = try XCTUnwrap(latest?.release)
        let refusal = ArtifactStoreError(.deploymentFailed, "<b>no</b>")
        for (node, error) in [("worker-1", nil), ("worker-2", refusal)] {
            _ = try await scene.releases.record(
                AppliedRelease(
                    node: NodeID(rawValue: node),
                    release: release,
                    error: error,
                    at: scene.time.now()
                ),
                tenant: .standard,
                epoch: scene.capability.epoch
            )
        }
        let first = try await scene.admin.send(.get, path + "?limit=2")
        XCTAssertEqual(first.violations, [])
        XCTAssertEqual(
            elements(of: first.json?["releases"]).map { $0["number"] },
            [3, 2]
        )
        XCTAssertEqual(
            elements(of: first.json?["acknowledgements"]).map { $0["state"] },
            ["applied", "refused"]
        )
        XCTAssertEqual(
            first.json?["acknowledgements"]?[1]?["errorCode"],
            "artifacts.deployment-failed"
        )
        let second = try await scene.admin.send(.get, path + "?limit=2&before=2")
        XCTAssertEqual(elements(of: second.json?["releases"]).map { $0["number"] }, [1])
        XCTAssertNil(second.json?["next"])
        let channels = try await scene.admin.send(.get, "/admin/v1/channels")
        XCTAssertEqual(channels.violations, [])
        XCTAssertEqual(channels.json?["channels"]?[0]?["channel"], "web/site")
        XCTAssertEqual(channels.json?["channels"]?[0]?["newest"]?["number"], 3)
        let bad = try await scene.admin.send(.get, path + "?before=x")
        XCTAssertEqual(bad.status, 400)
    }

    func test_directory_outsideThePublishRoots_is403_howeverItIsWritten() async throws {
        let scene = try Scene()
        let root = scene.directory.path
        let outside = try scene.directory.make("outside")
        try Data("x".utf8).write(to: URL(fileURLWithPath: outside + "/secret"))
        _ = try scene.directory.make("publish-not")
        try FileManager.default.createSymbolicLink(
            atPath: root + "/publish/link",
            withDestinationPath: outside
        )
        for directory in [
            outside, root, "/", "/etc", root + "/publish/../outside", root + "/publish/link",
            root + "/publish-not", "publish/site", "", ".", "file://" + root, root + "/nothing",
            root + "/publish/../nothing", "/publish\u{0}/site", "~/site",
        ] {
            let answer = try await scene.admin.call(.post, path, ["directory": .string(directory)])
            XCTAssertEqual(answer.status, 403, "\(directory): \(answer.text)")
            XCTAssertEqual(answer.code, "console.outside-publish-roots")
            XCTAssertEqual(answer.violations, [])
            XCTAssertFalse(answer.text.contains(root), "the answer tells where the roots are")
        }
        let inside = try scene.tree("site", ["a": "1"])
        try FileManager.default.createSymbolicLink(
            atPath: root + "/publish/current",
            withDestinationPath: inside
        )
        for directory in [root + "/publish/current", root + "/publish/./site/"] {
            let answer = try await scene.admin.call(.post, path, ["directory": .string(directory)])
            XCTAssertEqual(answer.status, 201, answer.text)
        }
    }

    func test_tree_thatCannotBePublished_isRefusedWithTheStoresReason() async throws {
        let scene = try Scene()
        let empty = try scene.tree("empty", [:])
        let linking = try scene.tree("linking", ["a": "1"])
        try FileManager.default.createSymbolicLink(
            atPath: linking + "/out",
            withDestinationPath: "/etc/hostname"
        )
        let rows: [(JSONValue, Int, String)] = [
            (
                ["directory": .string(scene.directory.path + "/publish/nothing")], 404,
                "artifacts.missing-source"
            ),
            (["directory": .string(empty)], 409, "artifacts.empty-source"),
            (["directory": .string(linking)], 400, "artifacts.unsafe-link"),
            (["directory": .string(linking), "kind": "a b"], 400, "role.invalid-name"),
        ]
        for (body, status, code) in rows {
            let answer = try await scene.admin.call(.post, path, body)
            XCTAssertEqual(answer.status, status, answer.text)
            XCTAssertEqual(answer.code, code)
            XCTAssertEqual(answer.violations, [])
        }
        let allowed = try await scene.admin.call(
            .post,
            path,
            ["directory": .string(linking), "allowAbsoluteLinks": true]
        )
        XCTAssertEqual(allowed.status, 201, allowed.text)
    }

    func test_rollback_outOfRange_is400Or404() async throws {
        let scene = try Scene()
        _ = try await scene.populate()
        for (number, status) in [
            (JSONValue.integer(0), 400), (-1, 400), (.integer(.max), 400), (99, 404), (1.5, 400),
            (1e30, 400),
        ] {
            let answer = try await scene.admin.call(
                .post,
                "/admin/v1/channels/web%2Fsite/rollback",
                ["to": number]
            )
            XCTAssertEqual(answer.status, status, "\(number): \(answer.text)")
            XCTAssertEqual(answer.violations, [])
        }
    }

    func test_publishRoots_areExistingAbsoluteDirectories() throws {
        for bad in ["relative", "", "/no/such/directory"] {
            XCTAssertThrowsError(try PublishRoots([bad])) { error in
                XCTAssertEqual((error as? ManagerConsoleError)?.code, .invalidPublishRoot)
            }
        }
        XCTAssertEqual(try PublishRoots([]), .none)
    }

    func test_productWithoutReleases_hasNoRoutesOfChannels() async throws {
        let scene = try Scene()
        var services = scene.services
        services.releases = nil
        services.cluster.wakes = nil
        let endpoint = try AdminEndpoint(services, authenticator: scene.tokens)
        XCTAssertFalse(endpoint.routes.contains { $0.path.hasPrefix("/channels") })
        let caller = HandlerCaller(
            try Scene.mounted(endpoint, StatusPage(services, authenticator: scene.tokens)),
            scene.admin.document,
            token: "admin-token"
        )
        let answer = try await caller.send(.get, "/admin/v1/channels")
        XCTAssertEqual(answer.status, 404)
        let status = try await caller.send(.get, "/admin/v1/status")
        XCTAssertNil(status.json?["wakes"])
        XCTAssertEqual(status.violations, [])
        let page = try await caller.send(.get, "/")
        XCTAssertTrue(page.text.contains("This node wakes nobody."))
    }
}
#endif
