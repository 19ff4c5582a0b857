import ClusterMembership
import XCTest

final class MemberAddressTests: XCTestCase {
    func test_memberAddress_thatCanBeDialled_isTakenAsItIs() throws {
        let longest = String(repeating: "a", count: 250) + ":8280"
        let addresses = [
            "10.0.0.4:8280", "worker-1.example:1", "[2001:db8::4]:65535", "[::1]:80",
            "http://10.0.0.4:8280", "https://[2001:db8::4]:443", longest,
        ]
        for text in addresses {
            XCTAssertEqual(try MemberAddress(validating: text).description, text)
        }
    }

    func test_memberAddress_thatNobodyCanDial_isRefused() {
        let addresses = [
            "", ":", ":80", "10.0.0.4", "10.0.0.4:", "10.0.0.4:0", "10.0.0.4:65536", "10.0.0.4:-1",
            "a:+1",
            "0.0.0.0:8280", "[::]:8280", "*:80", "http://0.0.0.0:80", "2001:db8::4:80", "::1:80",
            "[]:80", "a b:80", "a/b:80", "ftp://a:80", "a:80/path", "user@a:80", "h\u{E9}:80",
            "a\n:80", String(repeating: "a", count: 251) + ":8280",
        ]
        for text in addresses {
            do {
                _ = try MemberAddress(validating: text)
                XCTFail("\(text) was taken")
            } catch {
                XCTAssertEqual(error.code, .invalidMember)
            }
        }
    }

    func test_memberAddress_ofANodeThatIsToldNothing_isWhereItListens_ifThatIsOnePlace() {
        let rows: [(String, Int, String?)] = [
            ("127.0.0.1", 8_280, "127.0.0.1:8280"), ("::1", 80, "[::1]:80"),
            ("[::1]", 80, "[::1]:80"), ("node.example", 1, "node.example:1"),
            ("0.0.0.0", 8_280, nil), ("::", 8_280, nil), ("[::]", 8_280, nil), ("", 8_280, nil),
            ("127.0.0.1", 0, nil),
        ]
        for (host, port, expected) in rows {
            let found = MemberAddress(listeningAt: host, port: port)?.description
            XCTAssertEqual(found, expected, "\(host) \(port)")
        }
    }
}
