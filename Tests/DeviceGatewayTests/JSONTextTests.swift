#if Server
@testable import DeviceGateway
import Foundation
import HTTPHandling
import XCTest

final class JSONTextTests: XCTestCase {
    func test_text_thatIsJSON_passes() {
        for text in [
            "0", "-0", "1.5e+10", "1E2", "true", "false", "null", #""""#, #""\u00e9\n\/""#, "[]",
            "{}", " [ ] ", #"{"a":[1,{"b":{}},[]],"c":"}"}"#, #"[[[],[]],{}]"#, "\t{\r\n}\n",
            #""é😀""#,
        ] {
            XCTAssertTrue(JSONText.isValid(Array(text.utf8)), text)
            XCTAssertNoThrow(try JSONValue(parsing: Array(text.utf8)), text)
        }
    }

    func test_text_thatIsNot_doesNot() {
        for text in [
            "", " ", "{", "}", "[", "]", "[1,]", "{,}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#,
            "{1:2}",
            "01", "1.", ".5", "+1", "1e", "-", "tru", "truee", "nul", "NaN", "Infinity", "1 2",
            "[1 2]", "[1}", "{]", #"""#, #""\x""#, #""\u12g4""#, "\"\n\"", "'a'", "[1],", "/* */1",
            "\u{FEFF}{}", #"{"a":1 "b":2}"#, "[,1]", "[]]",
        ] {
            XCTAssertFalse(JSONText.isValid(Array(text.utf8)), text)
        }
        XCTAssertFalse(JSONText.isValid([0x22, 0xFF, 0x22]))
        XCTAssertFalse(JSONText.isValid([0x22, 0x00, 0x22]))
    }

    func test_nesting_isBounded_withoutRecursion() {
        let open = String(repeating: "[", count: 64)
        let closed = String(repeating: "]", count: 64)
        XCTAssertTrue(JSONText.isValid(Array((open + closed).utf8)))
        XCTAssertFalse(JSONText.isValid(Array(("[" + open + closed + "]").utf8)))
        let deep = String(repeating: #"{"a":"#, count: 1_000_000)
        XCTAssertFalse(JSONText.isValid(Array(deep.utf8)))
    }

    /// Every prefix, every deletion and every change of one byte: it agrees with a parser that knows
    /// nothing of it, and stops nothing.
    func test_mutations_areJudgedAsAParserJudgesThem() throws {
        let seed = Array(#"{"a":[1,-2.5e3,"x\u0041"],"b":{"c":null,"d":true}}"#.utf8)
        var texts = seed.indices.map { Array(seed[..<$0]) }
        for index in seed.indices {
            var less = seed
            less.remove(at: index)
            texts.append(less)
            for byte in [UInt8]("{}[],:\"\\0-e.tn \u{1}".utf8) {
                var changed = seed
                changed[index] = byte
                texts.append(changed)
            }
        }
        for text in texts {
            let object = try? JSONSerialization.jsonObject(
                with: Data(text),
                options: .fragmentsAllowed
            )
            XCTAssertEqual(
                JSONText.isValid(text),
                object != nil,
                String(decoding: text, as: UTF8.self)
            )
        }
    }
}
#endif
