public import ClusterRole
internal import Synchronization

/// Randomness that repeats: the same seed gives the same numbers. For tests only.
///
/// The generator is SplitMix64: a counter that grows by the odd 64-bit fraction of the golden ratio,
/// and a mixing function over it. Source: Guy L. Steele Jr., Doug Lea, Christine H. Flood, "Fast
/// Splittable Pseudorandom Number Generators", OOPSLA 2014, with the constants of its `mix64variant13`.
/// It passes BigCrush and is **not** cryptographically strong.
public final class SeededRandomSource: RandomSource {
    /// The seed to name in a failure message.
    public let seed: UInt64
    private let counter: Atomic<UInt64>

    public init(seed: UInt64) {
        self.seed = seed
        counter = Atomic(seed)
    }

    public func next() -> UInt64 {
        let step: UInt64 = 0x9E37_79B9_7F4A_7C15
        var bits = counter.wrappingAdd(step, ordering: .relaxed).newValue
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }
}
