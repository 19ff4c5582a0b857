#if SQLite
/// A 64-bit checksum over the columns of one row, stored with the row and verified when it is read.
///
/// SQLite does not notice a bit that flips inside a record. The sum is not cryptographic: it finds
/// accidents, not forgers. Each step `h = (h ^ word) * odd; h ^= h >> 32` is a bijection of the state
/// (the mixing step of MurmurHash3's finalizer), so a change within one 8-byte word is always
/// found, and any other with a probability of 1 - 2^-64. Words, not bytes, make it about eight times
/// as fast as FNV-1a.
///
/// Types and lengths are part of the sum, and so is the table's name: a row cannot be taken for one
/// of another table.
package struct RowChecksum: Sendable {
    private var state: UInt64 = 0xCBF2_9CE4_8422_2325

    package init(table: StaticString) {
        add(bytes: UnsafeRawBufferPointer(start: table.utf8Start, count: table.utf8CodeUnitCount))
    }

    /// - Parameter tableName: its UTF-8 bytes.
    init(tableName: UnsafeRawBufferPointer) { add(bytes: tableName) }
    /// The same seed for a name that is known at run time only: to walk the tables of a file.
    package init(tableNamed name: String) {
        var name = name
        name.withUTF8 { add(bytes: UnsafeRawBufferPointer($0)) }
    }

    /// The sum, as SQLite's integers store it.
    package var value: Int64 { Int64(bitPattern: state) }

    private mutating func mix(_ word: UInt64) {
        state = (state ^ word) &* 0xFF51_AFD7_ED55_8CCD
        state ^= state >> 32
    }

    package mutating func addNull() { mix(0x6E75_6C6C) }

    package mutating func add(_ number: Int64) {
        mix(0x696E_7400)
        mix(UInt64(bitPattern: number))
    }

    package mutating func add(text: UnsafeRawBufferPointer) {
        mix(0x7478_7400)
        add(bytes: text)
    }

    package mutating func add(blob: UnsafeRawBufferPointer) {
        mix(0x626C_6F62)
        add(bytes: blob)
    }

    private mutating func add(bytes: UnsafeRawBufferPointer) {
        mix(UInt64(bytes.count))
        var offset = 0
        while offset &+ 8 <= bytes.count {
            mix(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset &+= 8
        }
        if offset < bytes.count {
            var word: UInt64 = 0
            var shift: UInt64 = 0
            while offset < bytes.count {
                word |= UInt64(bytes[offset]) << shift
                shift &+= 8
                offset &+= 1
            }
            mix(word)
        }
    }

    /// The sum of a text, for digests of migrations.
    package static func digest(of text: String) -> Int64 {
        var sum = RowChecksum(table: "text")
        var text = text
        text.withUTF8 { sum.add(text: UnsafeRawBufferPointer($0)) }
        return sum.value
    }
}
#endif
