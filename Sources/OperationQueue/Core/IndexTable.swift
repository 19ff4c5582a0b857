/// Finds dense indices by what stands at them: a hash table of 32-bit indices with open addressing and
/// linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithms L and R), at most three
/// quarters full.
///
/// The standard library's dictionary keeps a copy of every key: for a million devices 50 MB more than
/// this, which keeps none.
struct IndexTable: Sendable {
    private static let free: Int32 = -1
    private var places: [Int32]
    private(set) var count = 0

    init() { places = [Int32](repeating: Self.free, count: 16) }

    /// The index with this hash that `isIt` accepts.
    func find(hash: Int, where isIt: (Int32) -> Bool) -> Int32? {
        var place = home(of: hash)
        while places[place] != Self.free {
            if isIt(places[place]) { return places[place] }
            place = next(place)
        }
        return nil
    }

    /// Adds an index that is not in it.
    ///
    /// - Parameters:
    ///   - index: 0 or more.
    ///   - hashes: the hash of what stands at an index, the new one's too.
    mutating func insert(_ index: Int32, hashes: (Int32) -> Int) {
        if (count + 1) * 4 > places.count * 3 { grow(hashes) }
        put(index, hash: hashes(index))
        count += 1
    }

    /// Takes an index out, if it is in. What stands at it is still what it was found by.
    mutating func remove(_ index: Int32, hashes: (Int32) -> Int) {
        var place = home(of: hashes(index))
        while places[place] != index {
            if places[place] == Self.free { return }
            place = next(place)
        }
        count -= 1
        // Whoever probed past this place moves up, so that no search ends too early.
        var candidate = next(place)
        while places[candidate] != Self.free {
            let wanted = home(of: hashes(places[candidate]))
            let isReachable =
                place <= candidate
                ? place < wanted && wanted <= candidate
                : place < wanted || wanted <= candidate
            if !isReachable {
                places[place] = places[candidate]
                place = candidate
            }
            candidate = next(candidate)
        }
        places[place] = Self.free
    }

    private func home(of hash: Int) -> Int { hash & (places.count - 1) }
    private func next(_ place: Int) -> Int { (place + 1) & (places.count - 1) }

    private mutating func put(_ index: Int32, hash: Int) {
        var place = home(of: hash)
        while places[place] != Self.free { place = next(place) }
        places[place] = index
    }

    private mutating func grow(_ hashes: (Int32) -> Int) {
        let old = places
        places = [Int32](repeating: Self.free, count: old.count * 2)
        for index in old where index != Self.free { put(index, hash: hashes(index)) }
    }
}
