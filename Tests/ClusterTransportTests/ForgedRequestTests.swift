#if Server && SQLite
import ClusterMembership
import ClusterRole
import ClusterTransport
import Foundation
import HTTPHandling
import HummingbirdHosting
import NIOHTTP1
import NodeCertificates
import XCTest

@testable import ClusterLink

/// Requests that somebody forged, over real sockets with TLS: each is refused with its code, and told.
final class ForgedRequestTests: XCTestCase {
    private struct Scene {
        let authority: AuthorityScene
        let manager: ManagerScene
        let refusals = RecordingRefusals()
        let credentials: CredentialSource

        init(epochs: Int = 1) throws {
            authority = try AuthorityScene()
            manager = try ManagerScene(epochs: epochs, requiresCertificates: true)
            credentials = try authority.credentials(.manager, "manager-1")
        }

        func serving(
            _ clients: ServerTLS.Clients = .optional,
            _ body: (String) async throws -> Void
        ) async throws {
            var admin = RouteTable(authenticator: manager.tokens)
            try admin.post(
                "/operations",
                operationID: "enqueue",
                access: .permission(.operate)
            ) { _ in .empty() }
            try await withSecureServer(
                [
                    HandlerMount(LinkEndpoint.standardPrefix, manager.endpoint),
                    HandlerMount("/admin/v1", admin),
                ],
                credentials,
                clients: clients,
                refusals: refusals,
                body
            )
        }

        func hello(_ node: NodeID = "worker-1", epoch: Int64 = 0) -> LinkHello {
            LinkHello(
                node: node,
                applied: nil,
                highestEpoch: Epoch(rawValue: epoch),
                nonce: LinkNonce(from: SystemRandomSource())
            )
        }

        /// The code of the last refusal that was told.
        var told: String? { refusals.refusals.last?.code }
    }

    func test_workerCertificate_onAManagersVerbs_isRefusedWithItsCodeAndTold() async throws {
        let scene = try Scene()
        let worker = try scene.authority.credentials(.worker, "worker-1")
        try await scene.serving { address in
            try await withCaller(worker, believing: scene.authority) { caller in
                let digest = String(repeating: "0", count: 64)
                let keep = try await caller.send(
                    .PUT,
                    "\(address)/link/v1/bundles/\(digest)",
                    body: [1]
                )
                XCTAssertEqual(keep.status, 403)
                XCTAssertEqual(keep.code, "link.wrong-role")
                XCTAssertEqual(scene.told, "link.wrong-role")
                XCTAssertEqual(scene.refusals.refusals.last?.verb, "linkKeepBundle")
                XCTAssertEqual(scene.refusals.refusals.last?.peer?.subject.node, "worker-1")
                // Without a token, and with an administrator's that it has stolen.
                for headers in [[], [("Authorization", "Bearer admin")]] {
                    let enqueue = try await caller.send(
                        .POST,
                        "\(address)/admin/v1/operations",
                        headers: headers
                    )
                    XCTAssertEqual(enqueue.status, 403)
                    XCTAssertEqual(enqueue.code, "http.forbidden")
                    XCTAssertEqual(scene.refusals.refusals.last?.verb, "enqueue")
                }
                XCTAssertEqual(scene.refusals.refusals.count, 3)
            }
            // The control: an administrator without a certificate may.
            try await withCaller(nil, believing: scene.authority) { caller in
                let enqueue = try await caller.send(
                    .POST,
                    "\(address)/admin/v1/operations",
                    headers: [("Authorization", "Bearer admin")]
                )
                XCTAssertEqual(enqueue.status, 204)
            }
        }
    }

    func test_managerCertificate_onTheWorkersHalf_isRefused() async throws {
        let scene = try Scene()
        let other = try scene.authority.credentials(.manager, "worker-1")
        try await scene.serving { address in
            try await withCaller(other, believing: scene.authority) { caller in
                let answer = try await caller.hello(scene.hello(), at: address)
                XCTAssertEqual(answer.status, 403)
                XCTAssertEqual(answer.code, "link.wrong-role")
            }
        }
    }

    func test_certificateOfAnotherNode_speaksForItselfOnly() async throws {
        let scene = try Scene()
        let worker = try scene.authority.credentials(.worker, "worker-2")
        try await scene.serving { address in
            try await withCaller(worker, believing: scene.authority) { caller in
                let hello = try await caller.hello(scene.hello("worker-1"), at: address)
                XCTAssertEqual(hello.code, "link.wrong-node")
                let token = try await caller.send(
                    .GET,
                    "\(address)/link/v1/replica",
                    headers: [("Authorization", "Bearer worker-1")]
                )
                XCTAssertEqual(token.status, 403)
                XCTAssertEqual(token.code, "link.wrong-node")
                XCTAssertEqual(scene.told, "link.wrong-node")
            }
        }
        let members = try await scene.manager.members.members()
        XCTAssertEqual(members, [])
    }

    func test_expiredCertificate_isRefusedInTheHandshakeAndTold() async throws {
        let scene = try Scene()
        try scene.authority.issue(.worker, "worker-1", lifetime: .seconds(1), ago: .seconds(240))
        let expired = try CredentialSource(files: scene.authority.files("worker-1"), logger: quiet)
        try await refusedInTheHandshake(scene, expired, "certificate.expired")
    }

    func test_certificateOfAnotherAuthority_isRefusedInTheHandshakeAndTold() async throws {
        let scene = try Scene()
        let stranger = try AuthorityScene()
        let forged = try stranger.credentials(.worker, "worker-1")
        try await refusedInTheHandshake(scene, forged, "certificate.wrong-authority")
    }

    func test_revokedCertificate_isRefusedInTheHandshakeAndTold() async throws {
        let scene = try Scene()
        let worker = try scene.authority.credentials(.worker, "worker-1")
        try scene.authority.revoke(worker.credentials.peer)
        try scene.credentials.reload()
        try await refusedInTheHandshake(scene, worker, "certificate.revoked")
    }

    private func refusedInTheHandshake(
        _ scene: Scene,
        _ credentials: CredentialSource,
        _ code: String
    ) async throws {
        try await scene.serving { address in
            try await withCaller(credentials, believing: scene.authority) { caller in
                do {
                    let answer = try await caller.hello(scene.hello(), at: address)
                    XCTFail("\(answer) was answered")
                } catch {}
            }
            try await eventually("the refusal is told") { !scene.refusals.refusals.isEmpty }
            XCTAssertEqual(scene.told, code)
            XCTAssertEqual(scene.refusals.refusals.last?.verb, PeerRefusal.handshake)
            XCTAssertNil(
                scene.refusals.refusals.last?.peer,
                "what it says of itself counts for nothing"
            )
        }
        let members = try await scene.manager.members.members()
        XCTAssertEqual(members, [])
    }

    func test_certificateRevoked_whileItsConnectionStands_isRefusedWithTheNextRequest() async throws
    {
        let scene = try Scene()
        let worker = try scene.authority.credentials(.worker, "worker-1")
        try await scene.serving { address in
            try await withCaller(worker, believing: scene.authority) { caller in
                let before = try await caller.hello(scene.hello(), at: address)
                XCTAssertEqual(before.status, 200)
                XCTAssertEqual(before.version, .http2)
                try scene.authority.revoke(worker.credentials.peer)
                try scene.credentials.reload()
                let after = try await caller.hello(scene.hello(), at: address)
                XCTAssertEqual(after.status, 403)
                XCTAssertEqual(after.code, "certificate.revoked")
                XCTAssertEqual(scene.told, "certificate.revoked")
                XCTAssertEqual(
                    scene.refusals.refusals.last?.peer,
                    worker.credentials.peer,
                    "who it was is known"
                )
            }
        }
    }

    func test_noCertificate_isRefusedByTheLink_orInTheHandshakeWhereOneIsRequired() async throws {
        let scene = try Scene()
        try await scene.serving { address in
            try await withCaller(nil, believing: scene.authority) { caller in
                for headers in [[], [("Authorization", "Bearer worker-1")]] {
                    let answer = try await caller.send(
                        .GET,
                        "\(address)/link/v1/replica",
                        headers: headers
                    )
                    XCTAssertEqual(answer.status, 401)
                    XCTAssertEqual(answer.code, "link.no-certificate")
                    XCTAssertEqual(scene.told, "link.no-certificate")
                }
            }
        }
        try await scene.serving(.required) { address in
            try await withCaller(nil, believing: scene.authority) { caller in
                do {
                    let answer = try await caller.send(.GET, "\(address)/link/v1/replica")
                    XCTFail("\(answer) was answered")
                } catch {}
            }
            try await eventually("the refusal is told") { scene.told == "certificate.missing" }
        }
    }

    func test_forgedProxyHeaders_areNoCertificate() async throws {
        let scene = try Scene()
        let forged = [
            ("X-Forwarded-Client-Cert", "URI=spiffe://fleet.example/manager/manager-1"),
            ("X-Client-Cert", "spiffe://fleet.example/worker/worker-1"),
            ("Forwarded", "for=127.0.0.1;proto=https"), ("X-Forwarded-For", "127.0.0.1"),
            ("Authorization", "Bearer worker-1"),
        ]
        let worker = try scene.authority.credentials(.worker, "worker-1")
        try await scene.serving { address in
            try await withCaller(nil, believing: scene.authority) { caller in
                let answer = try await caller.send(
                    .GET,
                    "\(address)/link/v1/replica",
                    headers: forged
                )
                XCTAssertEqual(answer.code, "link.no-certificate")
                XCTAssertEqual(scene.told, "link.no-certificate")
                XCTAssertEqual(scene.refusals.refusals.last?.remoteAddress, "127.0.0.1")
                XCTAssertNil(scene.refusals.refusals.last?.peer)
            }
            // A worker's certificate stays a worker's, whatever the fields beside it say.
            try await withCaller(worker, believing: scene.authority) { caller in
                let digest = String(repeating: "0", count: 64)
                let answer = try await caller.send(
                    .PUT,
                    "\(address)/link/v1/bundles/\(digest)",
                    body: [1],
                    headers: Array(forged.dropLast())
                )
                XCTAssertEqual(answer.code, "link.wrong-role")
            }
        }
    }

    func test_helloThatWasSaidBefore_isRefusedAndTold() async throws {
        let scene = try Scene()
        let worker = try scene.authority.credentials(.worker, "worker-1")
        try await scene.serving { address in
            try await withCaller(worker, believing: scene.authority) { caller in
                let hello = scene.hello()
                let first = try await caller.hello(hello, at: address)
                XCTAssertEqual(first.status, 200)
                let again = try await caller.hello(hello, at: address)
                XCTAssertEqual(again.status, 409)
                XCTAssertEqual(again.code, "link.replayed")
                XCTAssertEqual(scene.told, "link.replayed")
                let next = try await caller.hello(scene.hello(), at: address)
                XCTAssertEqual(next.status, 200)
                var bare = scene.hello()
                bare.nonce = nil
                let without = try await caller.hello(bare, at: address)
                XCTAssertEqual(without.code, "link.malformed")
            }
        }
    }

    func test_workerThatSawAHigherEpoch_isNotWrittenForByALowerManager() async throws {
        let scene = try Scene(epochs: 3)
        let worker = try scene.authority.credentials(.worker, "worker-1")
        try await scene.serving { address in
            try await withCaller(worker, believing: scene.authority) { caller in
                let behind = try await caller.hello(scene.hello(epoch: 4), at: address)
                XCTAssertEqual(behind.status, 409)
                XCTAssertEqual(behind.code, "link.epoch-behind")
                XCTAssertEqual(scene.told, "link.epoch-behind")
                let good = try await caller.hello(scene.hello(epoch: 3), at: address)
                XCTAssertEqual(good.status, 200)
                let beat = LinkHeartbeat(
                    state: .alive,
                    applied: nil,
                    highestEpoch: Epoch(rawValue: 9)
                )
                let late = try await caller.send(
                    .POST,
                    "\(address)/link/v1/heartbeat",
                    body: Array(try JSONEncoder().encode(beat)),
                    json: true
                )
                XCTAssertEqual(late.code, "link.epoch-behind")
            }
        }
    }

    func test_workerThatAnswersInAManagersPlace_isGivenNothing() async throws {
        let scene = try Scene()
        let impostor = try scene.authority.credentials(.worker, "worker-2")
        let worker = try scene.authority.credentials(.worker, "worker-1")
        let asked = RecordingRefusals()
        let trap = ClosureHandler { _ in
            asked.refused(PeerRefusal(verb: "asked", code: "-"))
            return .empty()
        }
        try await withSecureServer([HandlerMount("/link/v1", trap)], impostor) { address in
            let client = try LinkClient(
                node: "worker-1",
                configuration: LinkClientConfiguration(addresses: [address], credentials: worker),
                logger: quiet
            )
            for _ in 0..<3 {
                do {
                    _ = try await client.connection.send(.get("/replica"))
                    XCTFail("a worker was taken for a manager")
                } catch let error as ClusterLinkError {
                    XCTAssertEqual(error.code, .untrusted)
                    XCTAssertEqual((error.cause as? NodeCertificateError)?.code, .wrongRole)
                }
            }
        }
        XCTAssertEqual(asked.refusals.count, 0, "no request reached it")
    }

    func test_managerWhoseCertificateWasTakenBack_isGivenNothing() async throws {
        let scene = try Scene()
        let worker = try scene.authority.credentials(.worker, "worker-1")
        try scene.authority.revoke(scene.credentials.credentials.peer)
        try worker.reload()
        try await scene.serving { address in
            let client = try LinkClient(
                node: "worker-1",
                configuration: LinkClientConfiguration(addresses: [address], credentials: worker),
                logger: quiet
            )
            do {
                _ = try await client.connection.send(.get("/replica"))
                XCTFail("it was answered")
            } catch let error as ClusterLinkError {
                XCTAssertEqual((error.cause as? NodeCertificateError)?.code, .revoked)
            }
        }
    }
}
#endif
