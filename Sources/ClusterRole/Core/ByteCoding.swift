/// Writes the package's binary formats: little-endian, lengths as variable integers (LEB128).
///
/// Every format starts with one version byte, which its owner writes first.
package struct ByteWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    package mutating func write(_ value: UInt8) { bytes.append(value) }

    package mutating func write(_ value: Bool) { bytes.append(value ? 1 : 0) }

    /// LEB128, at most 10 bytes.
    package mutating func writeVariable(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// Zigzag, then LEB128.
    package mutating func write(_ value: Int64) {
        writeVariable(UInt64(bitPattern: (value << 1) ^ (value >> 63)))
    }

    package mutating func write(_ value: UInt128) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func write(_ text: String) {
        var text = text
        text.withUTF8 {
            writeVariable(UInt64($0.count))
            bytes.append(contentsOf: $0)
        }
    }

    package mutating func write(_ blob: [UInt8]) {
        writeVariable(UInt64(blob.count))
        bytes.append(contentsOf: blob)
    }

    /// Bytes without a length.
    package mutating func writeRaw(_ raw: some Sequence<UInt8>) { bytes.append(contentsOf: raw) }

    package mutating func write<Value>(
        optional value: Value?,
        _ body: (inout ByteWriter, Value) -> Void
    ) {
        write(value != nil)
        if let value { body(&self, value) }
    }

    package mutating func write<Element>(
        array: [Element],
        _ body: (inout ByteWriter, Element) -> Void
    ) {
        writeVariable(UInt64(array.count))
        for element in array { body(&self, element) }
    }
}

/// Reads what ``ByteWriter`` wrote. Input is never trusted: every length is checked against what is
/// left before anything is allocated.
package struct ByteReader: Sendable {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    package init(_ bytes: [UInt8]) { self.init(bytes[...]) }

    package init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    package var remaining: Int { bytes.endIndex - position }
    /// How many bytes have been read.
    package var consumed: Int { position - bytes.startIndex }

    private func malformed(_ what: String) -> ClusterRoleError {
        ClusterRoleError(
            .malformed,
            "The data is damaged or cut short (\(what) at byte \(consumed))."
        )
    }

    /// Reads the version byte and refuses versions this build does not know.
    package mutating func expectVersion(_ known: UInt8, of format: String) throws(ClusterRoleError)
    {
        let version = try readByte()
        if version != known {
            throw ClusterRoleError(
                .malformed,
                "This build reads version \(known) of \(format), not \(version). Upgrade the older side."
            )
        }
    }

    /// Reads the version byte of a format of which older versions are still read.
    package mutating func expectVersion(
        _ known: ClosedRange<UInt8>,
        of format: String
    ) throws(ClusterRoleError) -> UInt8 {
        let version = try readByte()
        guard known.contains(version) else {
            throw ClusterRoleError(
                .malformed,
                "This build reads versions \(known.lowerBound) to \(known.upperBound) of \(format), not "
                    + "\(version). Upgrade the older side."
            )
        }
        return version
    }

    package mutating func readByte() throws(ClusterRoleError) -> UInt8 {
        guard position < bytes.endIndex else { throw malformed("end of data") }
        defer { position += 1 }
        return bytes[position]
    }

    package mutating func readBool() throws(ClusterRoleError) -> Bool {
        switch try readByte() {
        case 0: return false
        case 1: return true
        default: throw malformed("boolean")
        }
    }

    package mutating func readVariable() throws(ClusterRoleError) -> UInt64 {
        var result: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let byte = try readByte()
            if shift == 63 && byte > 1 { throw malformed("integer") }
            result |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 {
                // One value, one spelling: no padding with empty groups.
                if byte == 0 && shift > 0 { throw malformed("integer") }
                return result
            }
            shift += 7
            if shift > 63 { throw malformed("integer") }
        }
    }

    package mutating func readInt64() throws(ClusterRoleError) -> Int64 {
        let raw = try readVariable()
        return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
    }

    package mutating func readUInt128() throws(ClusterRoleError) -> UInt128 {
        var value: UInt128 = 0
        var shift: UInt128 = 0
        for byte in try readRaw(16) {
            value |= UInt128(byte) << shift
            shift += 8
        }
        return value
    }

    /// A length that cannot exceed what is left (each element takes at least `elementSize` bytes).
    package mutating func readCount(elementSize: Int = 1) throws(ClusterRoleError) -> Int {
        let count = try readVariable()
        guard count <= UInt64(remaining / max(1, elementSize)) else { throw malformed("length") }
        return Int(count)
    }

    package mutating func readRaw(_ count: Int) throws(ClusterRoleError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else { throw malformed("end of data") }
        defer { position += count }
        return bytes[position..<position + count]
    }

    package mutating func readBytes() throws(ClusterRoleError) -> [UInt8] {
        Array(try readRaw(readCount()))
    }

    package mutating func readString() throws(ClusterRoleError) -> String {
        guard let text = String(validating: try readRaw(readCount()), as: UTF8.self) else {
            throw malformed("text")
        }
        return text
    }

    package mutating func readOptional<Value>(
        _ body: (inout ByteReader) throws(ClusterRoleError) -> Value
    ) throws(ClusterRoleError) -> Value? {
        try readBool() ? try body(&self) : nil
    }

    package mutating func readArray<Element>(
        elementSize: Int = 1,
        _ body: (inout ByteReader) throws(ClusterRoleError) -> Element
    ) throws(ClusterRoleError) -> [Element] {
        let count = try readCount(elementSize: elementSize)
        var result: [Element] = []
        result.reserveCapacity(min(count, 4_096))
        for _ in 0..<count { result.append(try body(&self)) }
        return result
    }

    /// Refuses bytes behind the end of a format.
    package func expectEnd() throws(ClusterRoleError) {
        if remaining > 0 { throw malformed("\(remaining) bytes too many") }
    }
}
