/// A set of small numbers: a hash set while it holds few, a bitmap once that is smaller.
struct DenseIndexSet: Sendable {
    private enum Form: Sendable {
        case few(Set<Int32>)
        /// One bit a number, 64 a word.
        case bits([UInt64])
    }

    /// From here on a bitmap of a million numbers (125 kB) is not larger than the hash set.
    private static let mostInSet = 4_096

    private var form = Form.few([])

    func contains(_ index: Int32) -> Bool {
        switch form {
        case .few(let set):
            return set.contains(index)
        case .bits(let words):
            let word = Int(index >> 6)
            return word < words.count && words[word] & (1 << UInt64(index & 63)) != 0
        }
    }

    mutating func insert(_ index: Int32) {
        switch form {
        case .few(var set):
            form = .few([])
            set.insert(index)
            guard set.count > Self.mostInSet else {
                form = .few(set)
                return
            }
            var words: [UInt64] = []
            for member in set { Self.insert(member, into: &words) }
            form = .bits(words)
        case .bits(var words):
            form = .few([])
            Self.insert(index, into: &words)
            form = .bits(words)
        }
    }

    mutating func remove(_ index: Int32) {
        switch form {
        case .few(var set):
            form = .few([])
            set.remove(index)
            form = .few(set)
        case .bits(var words):
            form = .few([])
            let word = Int(index >> 6)
            if word < words.count { words[word] &= ~(1 << UInt64(index & 63)) }
            form = .bits(words)
        }
    }

    private static func insert(_ index: Int32, into words: inout [UInt64]) {
        let word = Int(index >> 6)
        if word >= words.count {
            words.append(contentsOf: repeatElement(0, count: word + 1 - words.count))
        }
        words[word] |= 1 << UInt64(index & 63)
    }
}
