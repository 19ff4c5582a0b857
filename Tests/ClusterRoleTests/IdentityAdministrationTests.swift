import ClusterRole
import XCTest

final class IdentityAdministrationTests: XCTestCase {
    private final class Scene: Sendable {
        let ledger = InMemoryLedger()
        let clock = StandingClock()
        let capability: WriteCapability
        let identities: IdentityAdministration

        init() {
            capability = WriteCapability(epoch: ledger.raiseEpoch())
            identities = IdentityAdministration(
                storage: InMemoryIdentityStorage(ledger: ledger),
                capability: capability,
                clock: clock,
                random: CountingRandom()
            )
        }

        func create(
            _ name: IdentityName,
            _ permissions: Set<Permission>,
            kind: IdentityKind = .administrator,
            holding held: Set<Permission> = Permission.everything,
            lifetime: Duration? = nil
        ) async throws -> IssuedIdentity {
            try await identities.create(
                name,
                kind: kind,
                permissions: permissions,
                granting: held,
                lifetime: lifetime,
                by: "alice"
            )
        }
    }

    func test_token_has256Bits_isKeptAsItsDigestOnly_andIsNotInDescriptions() async throws {
        let scene = Scene()
        let issued = try await scene.create("night-shift", [.read])
        XCTAssertEqual(issued.token.utf8.count, 64)
        XCTAssertEqual(issued.identity.digest.count, 32)
        XCTAssertFalse("\(issued)".contains(issued.token))
        let stored = try await scene.identities.directory.identities()
        XCTAssertEqual(stored, [issued.identity])
        XCTAssertFalse(String(describing: stored).contains(issued.token))
        let other = try await scene.create("day-shift", [.read])
        XCTAssertNotEqual(issued.token, other.token)
    }

    func test_token_isKnownUntilRevoked_andThenAtOnceWorthNothing() async throws {
        let scene = Scene()
        let issued = try await scene.create("night-shift", [.read, .operate])
        let found = try await scene.identities.directory.identity(forToken: issued.token)
        XCTAssertEqual(found, issued.identity)
        for wrong in ["", "x", String(issued.token.dropLast()), issued.token.uppercased() + "0"] {
            let nobody = try await scene.identities.directory.identity(forToken: wrong)
            XCTAssertNil(nobody)
        }
        try await scene.identities.revoke("night-shift")
        let gone = try await scene.identities.directory.identity(forToken: issued.token)
        XCTAssertNil(gone)
        let again = await clusterRoleError { try await scene.identities.revoke("night-shift") }
        XCTAssertEqual(again?.code, .unknownIdentity)
        XCTAssertEqual(again?.category, .notFound)
    }

    func test_token_afterItsLifetime_isWorthNothing() async throws {
        let scene = Scene()
        let issued = try await scene.create("night-shift", [.read], lifetime: .seconds(60))
        scene.clock.advance(by: .milliseconds(59_999))
        let before = try await scene.identities.directory.identity(forToken: issued.token)
        XCTAssertNotNil(before)
        scene.clock.advance(by: .milliseconds(1))
        let after = try await scene.identities.directory.identity(forToken: issued.token)
        XCTAssertNil(after)
    }

    func test_nobodyGrantsWhatHeDoesNotHold_besideOwn() async throws {
        let scene = Scene()
        let error = await clusterRoleError {
            _ = try await scene.create("a", [.read, .publish], holding: [.read, .administer])
        }
        XCTAssertEqual(error?.code, .notGrantable)
        XCTAssertEqual(error?.category, .forbidden)
        let user = try await scene.create("ann", [.own], kind: .user, holding: [.administer])
        XCTAssertEqual(user.identity.permissions, [.own])
    }

    func test_identities_thatMakeNoSense_areRefused() async throws {
        let scene = Scene()
        let rows: [(IdentityKind, Set<Permission>)] = [
            (.administrator, []), (.administrator, [.own]), (.administrator, [.link]),
            (.user, []), (.user, [.read]), (.user, [.own, .read]), (.node, [.link]),
            (.process, [.read]), (.nobody, [.read]),
        ]
        for (kind, permissions) in rows {
            let error = await clusterRoleError {
                _ = try await scene.create(
                    "a",
                    permissions,
                    kind: kind,
                    holding: Permission.everything.union([.link, .own])
                )
            }
            XCTAssertEqual(error?.code, .invalidIdentity, "\(kind) \(permissions)")
        }
        for name in ["", "a b", "a/b"] {
            let error = await clusterRoleError {
                _ = try await scene.create(IdentityName(rawValue: name), [.read])
            }
            XCTAssertEqual(error?.code, .invalidName)
        }
        let all = try await scene.identities.directory.identities()
        XCTAssertEqual(all, [])
    }

    func test_writes_afterRevocationOfTheCapability_areRefused_andReadsGoOn() async throws {
        let scene = Scene()
        let issued = try await scene.create("night-shift", [.read])
        scene.capability.revoke()
        let create = await clusterRoleError { _ = try await scene.create("b", [.read]) }
        XCTAssertEqual(create?.code, .revoked)
        let revoke = await clusterRoleError { try await scene.identities.revoke("night-shift") }
        XCTAssertEqual(revoke?.code, .revoked)
        let found = try await scene.identities.directory.identity(forToken: issued.token)
        XCTAssertNotNil(found)
    }
}
