import ClusterRole
import DeviceRegistry
import Foundation
import XCTest

final class DeviceQueryTests: XCTestCase {
    private let facts = DeviceFacts(
        properties: [
            "os": .text("ios"), "os.version": .text("17.1"), "ram": .number(8),
            "rooted": .flag(false),
            "installed": .text("yes"), "model": .text("SM-A54"),
        ],
        applications: ["com.example.till": "2.10", "bare": ""],
        groups: ["fleet"],
        pollingFrequency: .seconds(90),
        liveness: .unreachable
    )

    func test_query_text_decidesOnFacts() throws {
        let cases: [(String, Bool)] = [
            (#"os = "ios""#, true), (#"os != "ios""#, false), (#"os = "IOS""#, false),
            (#"os.version >= "17""#, true), (#"os.version >= "17.1.0""#, true),
            (#"os.version > "17.1.0""#, false), (#"os.version < "17.10""#, true),
            (#"os.version = "17.1.0""#, false), (#"os.version > "9.99.99""#, true),
            (#"os > "android""#, true), (#"os < "17""#, false), (#"os.version >= 17"#, false),
            ("ram = 8", true), ("ram = 8.0", true), ("ram >= 8.5", false), ("ram < 1e3", true),
            ("ram != 7", true), (#"ram = "8""#, false), (#"ram != "8""#, true),
            ("ram > -1.5", true),
            ("rooted = false", true), ("rooted = true", false), ("rooted >= false", false),
            ("exists ram", true), ("exists rom", false), ("rom = 1", false), ("rom != 1", false),
            ("not rom = 1", true), (#"model prefix "SM-""#, true), (#"ram prefix "8""#, false),
            (#"installed "com.example.till""#, true), (#"installed "other""#, false),
            (#"installed "com.example.till" >= "2.9""#, true),
            (#"installed "com.example.till" < "2.9""#, false),
            (#"installed "bare" >= "1""#, false), (#""installed" = "yes""#, true),
            (#"member "fleet""#, true), (#"member "other""#, false),
            ("polling = 90", true), ("polling < 90.001", true), ("polling > 90", false),
            ("liveness = unreachable", true), ("liveness = active", false),
            (#"os = "android" or os = "ios" and ram = 9"#, false),
            (#"(os = "android" or os = "ios") and ram = 8"#, true),
            (#"os = "ios" or os = "android" and ram = 9"#, true),
            (#"not (os = "ios" and ram = 9)"#, true), ("not not exists ram", true),
            ("\n exists\tram ", true),
        ]
        for (text, expected) in cases {
            let query = try DeviceQuery(parsing: text)
            XCTAssertEqual(query.matches(facts), expected, text)
            XCTAssertEqual(try DeviceQuery(parsing: query.description), query, query.description)
            let encoded = try JSONEncoder().encode([query])
            XCTAssertEqual(try JSONDecoder().decode([DeviceQuery].self, from: encoded), [query])
        }
    }

    func test_query_thatCannotBeRead_isRefusedWithThePlace() {
        let deep = String(repeating: "(", count: 5_000) + "exists x"
        let cases: [(String, DeviceRegistryError.Code, String)] = [
            ("", .invalidQuery, "byte 0"), ("os", .invalidQuery, "byte 2"),
            ("os =", .invalidQuery, "byte 4"), ("os = ios", .invalidQuery, "byte 5"),
            ("os == 1", .invalidQuery, "byte 3"), ("= 1", .invalidQuery, "byte 0"),
            ("os = \"x", .invalidQuery, "byte 5"), (#"os = "\n""#, .invalidQuery, "byte 7"),
            ("(exists x", .invalidQuery, "byte 9"), ("exists x)", .invalidQuery, "byte 8"),
            ("exists x exists y", .invalidQuery, "byte 9"),
            ("and exists x", .invalidQuery, "byte 0"),
            ("exists and", .invalidQuery, "byte 7"), ("installed till", .invalidQuery, "byte 10"),
            (#"member "a/b""#, .invalidQuery, ""), (#"exists """#, .invalidQuery, ""),
            ("liveness = gone", .invalidQuery, "byte 11"), ("polling > fast", .invalidQuery, ""),
            ("polling prefix 3", .invalidQuery, ""), ("x = 1e999", .invalidQuery, "byte 4"),
            ("x = 1.2.3", .invalidQuery, "byte 4"), ("é = 1", .invalidQuery, "byte 0"),
            (deep, .tooLarge, ""),
            (String(repeating: "not ", count: 900) + "exists x", .tooLarge, ""),
            (String(repeating: "not ", count: 17) + "exists x", .tooLarge, ""),
            (Array(repeating: "exists x", count: 64).joined(separator: " or "), .tooLarge, ""),
            ("exists " + String(repeating: "x", count: 256), .invalidQuery, ""),
            ("x = \"" + String(repeating: "y", count: 4_096) + "\"", .tooLarge, ""),
        ]
        for (text, code, place) in cases {
            XCTAssertThrowsError(try DeviceQuery(parsing: text), text) {
                let error = $0 as? DeviceRegistryError
                XCTAssertEqual(error?.code, code, "\(text.prefix(60)): \($0)")
                XCTAssertTrue(
                    place.isEmpty || error?.message.contains(place) ?? false,
                    "\(text.prefix(60)): \($0)"
                )
            }
        }
    }

    func test_query_builtInCode_isCheckedLikeText() {
        let cases: [DeviceQuery] = [
            .and([]), .or([.exists("x")]), .exists(""), .member(of: "a b"),
            .property("x", .equals, .number(.infinity)), .not(.installed("", nil)),
        ]
        for query in cases { XCTAssertThrowsError(try query.validate(), "\(query)") }
        XCTAssertNoThrow(try DeviceQuery.exists("a name \"quoted\" \\ and é").validate())
    }

    /// Random queries survive their text form; random bytes never trap.
    func test_query_textForm_roundTrips() throws {
        var random = SystemRandomNumberGenerator()
        func name() -> String {
            ["os", "os.version", "and", "a b", "\"", "\\", "é", "-x", "17", ""].randomElement()!
                + "n"
        }
        func value() -> PropertyValue {
            switch Int.random(in: 0..<3, using: &random) {
            case 0: .text(name())
            case 1: .number(Double.random(in: -1e6...1e6))
            default: .flag(.random())
            }
        }
        func query(_ depth: Int) -> DeviceQuery {
            switch Int.random(in: 0..<(depth > 3 ? 6 : 9), using: &random) {
            case 0: .exists(name())
            case 1: .installed(name(), Bool.random() ? nil : .init(.less, name()))
            case 2: .member(of: "fleet")
            case 3: .polling(.greaterOrEqual, .milliseconds(Int.random(in: 0...100_000)))
            case 4: .liveness(.inactive)
            case 5:
                .property(name(), DeviceQuery.Comparison.allCases.randomElement()!, value())
            case 6: .not(query(depth + 1))
            case 7: .and([query(depth + 1), query(depth + 1)])
            default: .or([query(depth + 1), query(depth + 1), .exists("x")])
            }
        }
        for _ in 0..<2_000 {
            let one = query(0)
            guard (try? one.validate()) != nil else { continue }
            XCTAssertEqual(try DeviceQuery(parsing: one.description), one, one.description)
            var bytes = Array(one.description.utf8)
            for _ in 0..<3 where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count)] = UInt8.random(in: 0...255)
            }
            _ = try? DeviceQuery(parsing: String(decoding: bytes, as: UTF8.self))
        }
    }
}
