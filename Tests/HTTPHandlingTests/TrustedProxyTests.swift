#if Server
import ClusterRole
import FoundationEssentials
import HTTPTypes
import Logging
import Synchronization
import XCTest

@testable import HTTPHandling

/// Keeps what it is told.
final class RecordingAuditor: AccessAuditor {
    struct Event: Sendable {
        var kind: String
        var record: AccessRecord
    }

    private let state = Mutex<(events: [Event], fails: Bool)>(([], false))

    var events: [Event] { state.withLock { $0.events } }
    var kinds: [String] { events.map(\.kind) }

    func fail() { state.withLock { $0.fails = true } }

    func record(_ record: AccessRecord) async {
        state.withLock { $0.events.append(Event(kind: "refused", record: record)) }
    }

    func willPerform(_ record: AccessRecord) async throws -> Int64 {
        try state.withLock { state in
            if state.fails { throw ClusterRoleError(.auditUnavailable, "no") }
            state.events.append(Event(kind: "begun", record: record))
            return Int64(state.events.count)
        }
    }

    func didPerform(_ record: AccessRecord, begun: Int64) async throws {
        state.withLock { $0.events.append(Event(kind: "done", record: record)) }
    }
}

final class TrustedProxyTests: XCTestCase {
    // MARK: Addresses

    func test_addresses_inEverySpelling_areReadAlike() throws {
        let rows = [
            ("127.0.0.1", "127.0.0.1"), ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::1", "0:0:0:0:0:0:0:1"),
            ("2001:DB8::7", "2001:db8:0:0:0:0:0:7"), ("::", "0:0:0:0:0:0:0:0"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("64:ff9b::192.0.2.1", "64:ff9b:0:0:0:0:c000:201"),
        ]
        for (text, expected) in rows {
            XCTAssertEqual(InternetAddress(text)?.description, expected, text)
        }
    }

    func test_addresses_thatAreNone_areNotRead() {
        for text in [
            "", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.-4", "1.2.3.4 ",
            " 1.2.3.4",
            "1.2.3.4:80", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::",
            "g::", "::1%eth0", "[::1]", "1.2.3.4::", "::1.2.3", "example.org", "٣.1.1.1",
            "1:2:3:4:5:6:7::8:9", "0x1.2.3.4",
        ] {
            XCTAssertNil(InternetAddress(text), text)
        }
    }

    func test_ranges_holdTheirAddressesAndNoOther() throws {
        let rows: [(String, [String], [String])] = [
            (
                "10.0.0.0/8", ["10.0.0.0", "10.255.1.2", "::ffff:10.1.1.1"],
                ["11.0.0.0", "::a00:1"]
            ),
            ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
            ("0.0.0.0/0", ["1.2.3.4"], ["::1", "2001:db8::1"]),
            ("fd00::/8", ["fd12::1"], ["fe00::1", "10.0.0.1"]),
            ("::/0", ["::1", "1.2.3.4"], []),
            ("192.0.2.128/25", ["192.0.2.129"], ["192.0.2.127"]),
        ]
        for (text, inside, outside) in rows {
            let range = try XCTUnwrap(AddressRange(text), text)
            for one in inside { XCTAssertTrue(range.contains(try address(one)), "\(text) \(one)") }
            for one in outside {
                XCTAssertFalse(range.contains(try address(one)), "\(text) \(one)")
            }
        }
    }

    func test_ranges_withASlip_areRefused() {
        for text in [
            "", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8",
            "fd00::/129",
            "10.0.0.0/٨", "fd01::/8", "lan", "10.0.0.0/+8",
        ] {
            XCTAssertNil(AddressRange(text), text)
        }
    }

    private func address(_ text: String) throws -> InternetAddress {
        try XCTUnwrap(InternetAddress(text), text)
    }

    // MARK: Who the client is

    private static let ranges = ["10.0.0.0/8", "fd00::/8"].compactMap { AddressRange($0) }

    private func origin(
        _ fields: [(String, String)],
        from peer: String = "10.0.0.1",
        _ adjust: (inout ProxyTrust) -> Void = { _ in }
    ) async throws -> (origin: RequestOrigin?, fields: HTTPFields, recorded: [AccessRecord]) {
        var trust = ProxyTrust(proxies: Self.ranges)
        adjust(&trust)
        let auditor = RecordingAuditor()
        let seen = Mutex<HandlerRequest?>(nil)
        let handler = TrustedProxyHandler(
            ClosureHandler { request in
                seen.withLock { $0 = request }
                return .empty()
            },
            trust: trust,
            recorder: auditor
        )
        var all = HTTPFields()
        for (name, value) in fields {
            all.append(HTTPField(name: try XCTUnwrap(HTTPField.Name(name)), value: value))
        }
        let head = HTTPRequest(
            method: .get,
            scheme: "http",
            authority: "localhost",
            path: "/",
            headerFields: all
        )
        _ = try await handler.handle(
            HandlerRequest(head: head, remoteAddress: peer, logger: quiet)
        )
        let request = try XCTUnwrap(seen.withLock { $0 })
        return (request.origin, request.headerFields, auditor.events.map(\.record))
    }

    func test_client_isTheFirstHopThatIsNoNamedProxy_seenFromHere() async throws {
        let rows = [
            ("203.0.113.9", "203.0.113.9"), ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"), ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("203.0.113.9:4711", "203.0.113.9"), ("[2001:db8::1]:80", "2001:db8:0:0:0:0:0:1"),
            // What is no address ends the walk at the last hop that was told by a proxy.
            ("203.0.113.9, unknown", "10.0.0.1"), ("203.0.113.9, nonsense, 10.0.0.2", "10.0.0.2"),
            ("", "10.0.0.1"), (",,,", "10.0.0.1"),
        ]
        for (value, expected) in rows {
            let found = try await origin([("X-Forwarded-For", value)])
            XCTAssertEqual(found.origin?.client, expected, value)
            XCTAssertEqual(found.recorded, [], value)
        }
        let several = try await origin([
            ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
        ])
        XCTAssertEqual(several.origin, RequestOrigin(client: "203.0.113.9", scheme: "https"))
    }

    func test_forwarded_isReadAsRFC7239Says() async throws {
        let rows = [
            ("for=203.0.113.9;proto=https", "203.0.113.9", "https" as String?),
            (#"For="[2001:db8::1]:4711""#, "2001:db8:0:0:0:0:0:1", nil),
            ("for=1.1.1.1, for=203.0.113.9;proto=http;by=10.0.0.1", "203.0.113.9", "http"),
            ("for=203.0.113.9 , for=10.0.0.2;proto=https", "203.0.113.9", "https"),
            ("for=_hidden", "10.0.0.1", nil), ("for=unknown", "10.0.0.1", nil),
            (#"for="203.0.113.9"#, "10.0.0.1", nil), ("for=a;for=b", "10.0.0.1", nil),
            ("for", "10.0.0.1", nil), ("=x", "10.0.0.1", nil),
            ("for=203.0.113.9;proto=gopher", "203.0.113.9", nil),
        ]
        for (value, client, scheme) in rows {
            let found = try await origin([("Forwarded", value)]) { $0.addressField = .forwarded }
            XCTAssertEqual(found.origin, RequestOrigin(client: client, scheme: scheme), value)
        }
    }

    func test_fieldsTheProxiesAreNotConfiguredToSet_areNotBelieved() async throws {
        let slipped = try await origin([
            ("Forwarded", "for=1.1.1.1"), ("Client-Cert", ":AAAA:"), ("X-Real-IP", "1.1.1.1"),
            ("X-Forwarded-Client-Cert", "Cert=x"),
        ])
        XCTAssertEqual(slipped.origin, RequestOrigin(client: "10.0.0.1"))
        XCTAssertTrue(slipped.fields.isEmpty, "no handler sees them")
    }

    func test_fieldsFromElsewhere_areRemovedAndRecorded() async throws {
        for peer in ["192.0.2.1", "11.0.0.1", "::1", "not an address"] {
            let found = try await origin(
                [
                    ("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1"),
                    ("X-Forwarded-Client-Cert", "Cert=x"), ("Client-Cert", ":AAAA:"),
                    ("Accept", "text/plain"),
                ],
                from: peer
            ) { $0.certificateField = .clientCert }
            XCTAssertNil(found.origin)
            XCTAssertEqual(found.fields.count, 1)
            XCTAssertEqual(found.recorded.map(\.code), [TrustedProxyHandler.forgedCode])
            XCTAssertEqual(found.recorded.first?.peer, peer)
        }
    }

    func test_withoutANamedProxy_nobodyIsBelieved() async throws {
        let found = try await origin([("X-Forwarded-For", "1.1.1.1")]) { $0.proxies = [] }
        XCTAssertNil(found.origin)
        XCTAssertEqual(found.recorded.count, 1)
    }

    // MARK: Certificates

    func test_certificates_inBothForms_areReadFromNamedProxies() async throws {
        let der: [UInt8] = [0x30, 0x03, 0x02, 0x01, 0x05]
        let base64 = Data(der).base64EncodedString()
        let plain = try await origin([("Client-Cert", ":\(base64):")]) {
            $0.certificateField = .clientCert
        }
        XCTAssertEqual(plain.origin?.certificate, der)
        let pem = "-----BEGIN CERTIFICATE-----\n\(base64)\n-----END CERTIFICATE-----\n"
        let escaped = pem.utf8.map { "%" + hexadecimal([$0]) }.joined()
        for value in [
            "Hash=ab;Cert=\"\(escaped)\";Subject=\"CN=x\"", "Cert=\(escaped)",
            "Cert=\"made%20up\",By=spiffe://a;Cert=\"\(escaped)\"",
        ] {
            let envoy = try await origin([("X-Forwarded-Client-Cert", value)]) {
                $0.certificateField = .envoy
            }
            XCTAssertEqual(envoy.origin?.certificate, der, value)
        }
        for bad in [":", "::", base64, ":!!:", ":\(base64)"] {
            let found = try await origin([("Client-Cert", bad)]) {
                $0.certificateField = .clientCert
            }
            XCTAssertNil(found.origin?.certificate, bad)
        }
        let twice = try await origin([("Client-Cert", ":AAAA:"), ("Client-Cert", ":\(base64):")]) {
            $0.certificateField = .clientCert
        }
        XCTAssertNil(twice.origin?.certificate, "of two, neither is believed")
    }

    func test_certificate_fromANamedProxy_isAnIdentity_andForgedIsNone() async throws {
        let der: [UInt8] = [1, 2, 3]
        // SHA-256 of 01 02 03.
        let fingerprint = "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81"
        var table = RouteTable()
        try table.get("/", operationID: "who", access: .permission(.read)) { request in
            .text(try request.requireIdentity().name)
        }
        let handler = TrustedProxyHandler(
            table,
            trust: ProxyTrust(proxies: Self.ranges, certificateField: .clientCert),
            certificates: CertificateFingerprints([
                fingerprint: Identity(name: "gate", permissions: [.read])
            ])
        )
        for (peer, status) in [("10.0.0.1", 200), ("192.0.2.1", 401)] {
            let head = HTTPRequest(
                method: .get,
                scheme: "http",
                authority: "localhost",
                path: "/",
                headerFields: [
                    HTTPField.Name("Client-Cert")!: ":\(Data(der).base64EncodedString()):"
                ]
            )
            let request = HandlerRequest(head: head, remoteAddress: peer, logger: quiet)
            let answer = await handler.answer(request)
            XCTAssertEqual(answer.status.code, status, peer)
        }
    }

    // MARK: Anything at all

    func test_readers_givenAnyText_end() {
        var state: UInt64 = 0x9E37_79B9
        func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
        let alphabet = Array(#"for=proto="[]:;,\%.0123456789abcdefF:- _"#) + ["\u{0}", "ä", "\n"]
        for _ in 0..<20_000 {
            let text = String(
                (0..<Int(next() % 40)).map { _ in alphabet[Int(next()) % alphabet.count] }
            )
            _ = InternetAddress(text)
            _ = InternetAddress(hop: text)
            _ = AddressRange(text)
            _ = ForwardedFields.forwarded([text, text])
            _ = ForwardedFields.xForwardedFor([text])
            _ = ForwardedFields.clientCert([text])
            _ = ForwardedFields.envoyCert([text])
            _ = base64URLDecoded(text)
        }
    }
}
#endif
