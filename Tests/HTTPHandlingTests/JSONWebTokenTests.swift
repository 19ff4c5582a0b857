#if Server
import ClusterRole
import Crypto
import FoundationEssentials
import HTTPHandling
import Synchronization
import XCTest

final class JSONWebTokenTests: XCTestCase {
    private struct FixedClock: TimeSource {
        func now() -> Timestamp { Timestamp(milliseconds: 1_800_000_000_000) }
        func monotonic() -> Duration { .zero }
        func sleep(for duration: Duration) async throws {}
    }

    /// An issuer with a key of each kind, made anew for each test.
    private struct Issuer {
        let p256 = P256.Signing.PrivateKey()
        let ed25519 = Curve25519.Signing.PrivateKey()

        var document: JSONValue {
            let point = Array(p256.publicKey.x963Representation)
            return [
                "keys": [
                    [
                        "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig",
                        "x": .string(encoded(Array(point[1..<33]))),
                        "y": .string(encoded(Array(point[33...]))),
                    ],
                    [
                        "kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA",
                        "x": .string(encoded(Array(ed25519.publicKey.rawRepresentation))),
                    ],
                    ["kty": "RSA", "kid": "rsa", "alg": "RS256", "n": "AQAB", "e": "AQAB"],
                    ["kty": "oct", "kid": "secret", "alg": "HS256", "k": "AAAA"],
                    [
                        "kty": "EC", "crv": "P-256", "kid": "enc", "use": "enc", "x": "AA",
                        "y": "AA",
                    ],
                ]
            ]
        }

        func token(
            _ claims: JSONValue,
            kid: String? = "ec",
            alg: String = "ES256",
            head more: [String: JSONValue] = [:]
        ) throws -> String {
            var head = more
            head["alg"] = .string(alg)
            if let kid { head["kid"] = .string(kid) }
            let message =
                encoded(try JSONValue.object(head).encoded()) + "."
                + encoded(try claims.encoded())
            let bytes = Array(message.utf8)
            let signature: [UInt8]
            switch kid {
            case "ed": signature = Array(try ed25519.signature(for: bytes))
            case "rsa": signature = Array(SHA256.hash(data: bytes))
            default: signature = Array(try p256.signature(for: bytes).rawRepresentation)
            }
            return message + "." + encoded(signature)
        }
    }

    private static func claims(_ change: [String: JSONValue] = [:]) -> JSONValue {
        var claims: [String: JSONValue] = [
            "iss": "https://login.example", "aud": ["other", "reeve"], "sub": "ann",
            "exp": 1_800_000_060, "iat": 1_799_999_990, "nbf": 1_799_999_990,
            "groups": ["fleet"],
        ]
        for (name, value) in change { claims[name] = value }
        return .object(claims)
    }

    private func tokens(
        _ issuer: Issuer,
        checking check: JSONWebTokens.SignatureCheck? = nil
    ) throws -> JSONWebTokens {
        JSONWebTokens(
            issuer: "https://login.example",
            audience: "reeve",
            keys: FixedKeys(try JSONWebKeySet(parsing: issuer.document.encoded())),
            clock: FixedClock(),
            checking: check
        ) { claims in
            guard claims.all["groups"]?[0]?.stringValue == "fleet" else { return nil }
            return Identity(name: claims.subject, permissions: [.read])
        }
    }

    private func refusal(_ tokens: JSONWebTokens, _ token: String) async throws -> TokenRefusal? {
        do {
            _ = try await tokens.claims(of: token)
            return nil
        } catch let refusal as TokenRefusal {
            let identity = try await tokens.identity(forToken: token)
            XCTAssertNil(identity, "what is refused is nobody's")
            return refusal
        }
    }

    func test_tokens_ofBothAlgorithms_areMappedToAnIdentity() async throws {
        let issuer = Issuer()
        let tokens = try tokens(issuer)
        for (kid, alg) in [("ec", "ES256"), ("ed", "EdDSA")] {
            let token = try issuer.token(Self.claims(), kid: kid, alg: alg)
            let identity = try await tokens.identity(forToken: token)
            XCTAssertEqual(identity, Identity(name: "ann", permissions: [.read]), alg)
        }
        let single = try issuer.token(Self.claims(["aud": "reeve"]))
        let found = try await refusal(tokens, single)
        XCTAssertNil(found)
        let outsider = try issuer.token(Self.claims(["groups": ["guests"]]))
        let nobody = try await tokens.identity(forToken: outsider)
        XCTAssertNil(nobody, "the mapping decides")
    }

    func test_algorithmNone_isRefused() async throws {
        let issuer = Issuer()
        let tokens = try tokens(issuer)
        for alg in ["none", "None", "NONE", "nOnE"] {
            let signed = try issuer.token(Self.claims(), alg: alg)
            let stripped = signed[..<(signed.lastIndex(of: ".") ?? signed.endIndex)] + "."
            for token in [signed, String(stripped)] {
                let found = try await refusal(tokens, token)
                XCTAssertEqual(found, .algorithm, alg)
            }
        }
    }

    func test_algorithmConfusion_isRefused() async throws {
        let issuer = Issuer()
        let tokens = try tokens(issuer)
        // The public key as the secret of a symmetric algorithm.
        let key = SymmetricKey(data: issuer.p256.publicKey.x963Representation)
        for (kid, alg) in [("ec", "HS256"), ("secret", "HS256"), ("ec", "hs512")] {
            let head: JSONValue = ["alg": .string(alg), "kid": .string(kid)]
            let message = encoded(try head.encoded()) + "." + encoded(try Self.claims().encoded())
            let code = HMAC<SHA256>.authenticationCode(for: Array(message.utf8), using: key)
            let found = try await refusal(tokens, message + "." + encoded(Array(code)))
            XCTAssertEqual(found, .algorithm, alg)
        }
        // The algorithm of another key.
        for (kid, alg) in [("ec", "EdDSA"), ("ed", "ES256"), ("ec", "RS256"), ("rsa", "ES256")] {
            let token = try issuer.token(Self.claims(), kid: kid, alg: alg)
            let found = try await refusal(tokens, token)
            XCTAssertEqual(found, .algorithm, "\(kid) \(alg)")
        }
    }

    func test_unknownKeyOrNone_isRefused() async throws {
        let issuer = Issuer()
        let tokens = try tokens(issuer)
        for kid in ["nobody", "", "enc", nil] {
            let token = try issuer.token(Self.claims(), kid: kid)
            let found = try await refusal(tokens, token)
            XCTAssertEqual(found, .unknownKey, "\(kid ?? "-")")
        }
    }

    func test_signatureOfAnotherKeyOrOfOtherClaims_isRefused() async throws {
        let (issuer, stranger) = (Issuer(), Issuer())
        let tokens = try tokens(issuer)
        for (kid, alg) in [("ec", "ES256"), ("ed", "EdDSA")] {
            let foreign = try await refusal(
                tokens,
                stranger.token(Self.claims(), kid: kid, alg: alg)
            )
            XCTAssertEqual(foreign, .signature, alg)
            let token = try issuer.token(Self.claims(), kid: kid, alg: alg)
            var parts = token.split(separator: ".").map(String.init)
            parts[1] = encoded(try Self.claims(["sub": "bob"]).encoded())
            let changed = try await refusal(tokens, parts.joined(separator: "."))
            XCTAssertEqual(changed, .signature, alg)
            parts[2] = ""
            let stripped = try await refusal(tokens, parts.joined(separator: "."))
            XCTAssertEqual(stripped, .signature, alg)
        }
    }

    func test_expiredOrEndlessOrFutureTokens_areRefused() async throws {
        let issuer = Issuer()
        let tokens = try tokens(issuer)
        let rows: [([String: JSONValue], TokenRefusal?)] = [
            (["exp": 1_799_999_971], nil), (["exp": 1_799_999_970], .expired),
            (["exp": 0], .expired),
            (["exp": .null], .expired), (["exp": "1800000060"], .expired), (["exp": -1], .expired),
            (["exp": .number(1e300)], .expired), (["exp": .integer(.max)], .expired),
            (["exp": .number(1_800_000_060.5)], nil), (["nbf": 1_800_000_030], nil),
            (["nbf": 1_800_000_031], .notYetValid), (["iat": 1_800_000_031], .notYetValid),
            (["nbf": "soon"], .notYetValid),
        ]
        for (change, expected) in rows {
            let found = try await refusal(tokens, issuer.token(Self.claims(change)))
            XCTAssertEqual(found, expected, "\(change)")
        }
    }

    func test_tokensOfAnotherIssuerOrForAnotherAudience_areRefused() async throws {
        let issuer = Issuer()
        let tokens = try tokens(issuer)
        for wrong in ["https://login.example/", "", .null, 1] as [JSONValue] {
            let found = try await refusal(tokens, issuer.token(Self.claims(["iss": wrong])))
            XCTAssertEqual(found, .issuer, "\(wrong)")
        }
        for wrong in ["Reeve", [], .null, ["other"], [1], 1] as [JSONValue] {
            let found = try await refusal(tokens, issuer.token(Self.claims(["aud": wrong])))
            XCTAssertEqual(found, .audience, "\(wrong)")
        }
    }

    func test_textThatIsNoToken_isRefusedAsMalformed() async throws {
        let issuer = Issuer()
        let tokens = try tokens(issuer)
        let good = try issuer.token(Self.claims())
        let rows = [
            "", ".", "..", "...", "a.b", "a.b.c", good + ".x", "=" + good, good + "=",
            good.replacing(".", with: ".."), "W10.W10.AA",
            String(repeating: "A", count: JSONWebTokens.maximumTokenBytes + 1),
            try issuer.token(Self.claims(), head: ["crit": ["exp"]]),
        ]
        for text in rows {
            let found = try await refusal(tokens, text)
            XCTAssertEqual(found, .malformed, String(text.prefix(40)))
        }
    }

    func test_otherAlgorithms_needACheckOfOnesOwn() async throws {
        let issuer = Issuer()
        let token = try issuer.token(Self.claims(), kid: "rsa", alg: "RS256")
        let without = try await refusal(try tokens(issuer), token)
        XCTAssertEqual(without, .algorithm)
        let with = try tokens(issuer) { key, message, signature in
            key.members["n"]?.stringValue == "AQAB"
                && signature == Array(SHA256.hash(data: message))
        }
        let found = try await refusal(with, token)
        XCTAssertNil(found)
        let refusing = try tokens(issuer) { _, _, _ in false }
        let refused = try await refusal(refusing, token)
        XCTAssertEqual(refused, .signature)
    }

    func test_fetchedKeys_areFetchedOnceAMinuteForUnknownKeys_andKeptWhileTheIssuerIsAway()
        async throws
    {
        final class Clock: TimeSource {
            let elapsed = Mutex(Duration.zero)
            func now() -> Timestamp { .distantPast }
            func monotonic() -> Duration { elapsed.withLock { $0 } }
            func sleep(for duration: Duration) async throws {}
        }
        let (clock, issuer) = (Clock(), Issuer())
        let document = try issuer.document.encoded()
        let fetches = Mutex((count: 0, isAway: false))
        let keys = FetchedKeys(clock: clock) {
            try fetches.withLock { state in
                state.count += 1
                if state.isAway { throw CancellationError() }
                return document
            }
        }
        for _ in 0..<50 {
            let known = try await keys.key("ec")
            XCTAssertNotNil(known)
            let unknown = try await keys.key("made-up")
            XCTAssertNil(unknown)
        }
        XCTAssertEqual(fetches.withLock { $0.count }, 1)
        clock.elapsed.withLock { $0 += .seconds(61) }
        _ = try await keys.key("made-up")
        XCTAssertEqual(fetches.withLock { $0.count }, 2)
        fetches.withLock { $0.isAway = true }
        clock.elapsed.withLock { $0 += .seconds(3_601) }
        let kept = try await keys.key("ec")
        XCTAssertNotNil(kept, "the issuer is away, its keys are not")
        XCTAssertEqual(fetches.withLock { $0.count }, 3)
    }
}

/// Base64url without padding.
private func encoded(_ bytes: [UInt8]) -> String {
    Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
        .replacing("=", with: "")
}
#endif
