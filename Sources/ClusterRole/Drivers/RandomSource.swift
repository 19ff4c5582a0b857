internal import Synchronization

/// The injected randomness.
public protocol RandomSource: Sendable {
    /// The next 64 uniformly distributed bits. Cryptographically strong outside tests.
    func next() -> UInt64
}

extension RandomSource {
    /// `count` random bytes.
    public func bytes(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count + 7)
        while result.count < count {
            withUnsafeBytes(of: next().littleEndian) { result.append(contentsOf: $0) }
        }
        result.removeLast(result.count - count)
        return result
    }

    /// A uniformly distributed number in `0..<bound`; 0 when `bound` is 0.
    public func number(below bound: UInt64) -> UInt64 {
        next().multipliedFullWidth(by: bound).high
    }

    /// `duration` changed by at most ±`fraction` (0…1) of itself, so that a fleet does not march in step.
    public func jittered(_ duration: Duration, by fraction: Double) -> Duration {
        let span = Double(duration.milliseconds) * max(0, min(1, fraction))
        guard span >= 1 else { return duration }
        let offset = Int64(number(below: UInt64(span * 2) + 1)) - Int64(span)
        return .milliseconds(duration.milliseconds + offset)
    }
}

/// The operating system's randomness (getrandom).
///
/// Words are drawn 32 at a time and shared by all of them in the process: an exchange needs several, and a
/// system call for each cost more than what it is drawn for. A word is given once and erased.
public struct SystemRandomSource: RandomSource {
    private static let drawn = Mutex(DrawnWords())

    public init() {}
    public func next() -> UInt64 { Self.drawn.withLock { $0.next() } }
}

/// Words that were drawn and not yet given.
private struct DrawnWords {
    /// 32: the 256 bytes that getentropy(3) gives at once, about as fast as 8 of them.
    private static let capacity = 32

    private var words = [UInt64](repeating: 0, count: capacity)
    private var left = 0

    mutating func next() -> UInt64 {
        if left == 0 {
            words.withUnsafeMutableBytes { fillWithSystemRandomness($0) }
            left = words.count
        }
        left -= 1
        // Who reads this memory later learns nothing of what was given.
        defer { words[left] = 0 }
        return words[left]
    }
}
