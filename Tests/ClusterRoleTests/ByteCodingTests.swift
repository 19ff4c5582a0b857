import XCTest

@testable import ClusterRole

final class ByteCodingTests: XCTestCase {
    func test_values_roundTrip() throws {
        let integers: [Int64] = [0, 1, -1, 63, 64, -64, -65, .max, .min, 1 << 40]
        var writer = ByteWriter()
        writer.write(UInt8(1))
        for value in integers { writer.write(value) }
        writer.write(UInt128.max - 5)
        writer.write("grüße")
        writer.write(optional: "x") { $0.write($1) }
        writer.write(optional: String?.none) { $0.write($1) }
        writer.write(array: [1, 2, 3] as [Int64]) { $0.write($1) }

        var reader = ByteReader(writer.bytes)
        try reader.expectVersion(1, of: "test")
        for value in integers { XCTAssertEqual(try reader.readInt64(), value) }
        XCTAssertEqual(try reader.readUInt128(), UInt128.max - 5)
        XCTAssertEqual(try reader.readString(), "grüße")
        XCTAssertEqual(
            try reader.readOptional { r throws(ClusterRoleError) in try r.readString() },
            "x"
        )
        XCTAssertNil(try reader.readOptional { r throws(ClusterRoleError) in try r.readString() })
        XCTAssertEqual(
            try reader.readArray { r throws(ClusterRoleError) in try r.readInt64() },
            [1, 2, 3]
        )
        XCTAssertNoThrow(try reader.expectEnd())
    }

    func test_truncatedInput_isRefusedAtEveryLength() {
        var writer = ByteWriter()
        writer.write("hello")
        writer.write(Int64.min)
        writer.write(UInt128.max)
        for length in 0..<writer.bytes.count {
            var reader = ByteReader(Array(writer.bytes[..<length]))
            XCTAssertThrowsError(
                try {
                    _ = try reader.readString()
                    _ = try reader.readInt64()
                    _ = try reader.readUInt128()
                }()
            )
        }
    }

    func test_lengthBeyondTheInput_isRefusedBeforeAllocating() {
        var writer = ByteWriter()
        writer.writeVariable(UInt64.max)
        var reader = ByteReader(writer.bytes)
        XCTAssertThrowsError(try reader.readBytes())
        reader = ByteReader([0x80, 0x00])
        XCTAssertThrowsError(try reader.readVariable(), "a padded integer has two spellings")
        reader = ByteReader(Array(repeating: 0xFF, count: 11))
        XCTAssertThrowsError(try reader.readVariable())
        reader = ByteReader([0x02, 0xC3, 0x28])
        XCTAssertThrowsError(try reader.readString(), "not UTF-8")
    }
}
