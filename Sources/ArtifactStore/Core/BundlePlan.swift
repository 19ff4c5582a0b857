/// What a bundle carries and what its receiver already has. Both ends compute it from the two
/// manifests and come to the same plan, so that frames need not name files.
struct BundlePlan {
    /// Where the content of one file of the new tree comes from.
    enum Origin: Hashable {
        /// A file of the old tree has it: the index of that entry.
        case old(Int)
        /// The bundle carries it.
        case bundle
        /// An earlier file of the new tree has it: the index of that entry.
        case twin(Int)
        /// It has no bytes.
        case empty
    }

    /// For each file of the new tree, by entry index and in order.
    private(set) var files: [(entry: Int, origin: Origin)] = []
    /// The entries whose content the bundle carries, in the order of its content stream.
    private(set) var carried: [Int] = []
    /// The length of the content stream.
    private(set) var contentBytes: Int64 = 0

    init(from old: TreeManifest?, to new: TreeManifest) {
        self.init(from: old, entries: new.entries, elided: [:])
    }

    /// The receiver's: what the bundle says of files without a digest stands for that.
    init(from old: TreeManifest?, to new: BundledManifest) {
        self.init(from: old, entries: new.entries, elided: new.elided)
    }

    private init(from old: TreeManifest?, entries: [TreeEntry], elided: [Int: Origin]) {
        // Most files stay where they are: both trees are sorted, and are gone through side by side. What
        // moved is looked up by its digest.
        let oldEntries = old?.entries ?? []
        var place = 0
        var known: [ContentDigest: Int]?
        var seen: [ContentDigest: Int] = [:]
        for (index, entry) in entries.enumerated() {
            guard case .file(let size, let digest) = entry.content else { continue }
            let origin: Origin
            if let told = elided[index] {
                origin = told
                if told == .bundle {
                    carried.append(index)
                    contentBytes += size
                }
            } else if size == 0 {
                origin = .empty
            } else if Self.advance(&place, to: entry.path, in: oldEntries),
                oldEntries[place].fileDigest == digest
            {
                origin = .old(place)
            } else if let moved = Self.look(up: digest, in: oldEntries, &known) {
                origin = .old(moved)
            } else if let twin = seen[digest] {
                origin = .twin(twin)
            } else {
                origin = .bundle
                seen[digest] = index
                carried.append(index)
                contentBytes += size
            }
            files.append((index, origin))
        }
    }

    /// Goes on to the entry of a path.
    ///
    /// - Returns: whether there is one.
    private static func advance(
        _ place: inout Int,
        to path: TreePath,
        in entries: [TreeEntry]
    ) -> Bool {
        while place < entries.count, entries[place].path < path { place += 1 }
        return place < entries.count && entries[place].path == path
    }

    /// The first file with some content.
    private static func look(
        up digest: ContentDigest,
        in entries: [TreeEntry],
        _ known: inout [ContentDigest: Int]?
    ) -> Int? {
        if known == nil {
            var all: [ContentDigest: Int] = [:]
            for (index, entry) in entries.enumerated() {
                if let digest = entry.fileDigest, all[digest] == nil { all[digest] = index }
            }
            known = all
        }
        return known?[digest]
    }

    fileprivate static func filesByPath(_ tree: TreeManifest?) -> [TreePath: Int] {
        var result: [TreePath: Int] = [:]
        for (index, entry) in (tree?.entries ?? []).enumerated() where entry.fileSize != nil {
            result[entry.path] = index
        }
        return result
    }
}

/// Finds, for a file of the new tree, the file of the old tree it most likely came from.
///
/// Only the sender needs it: each frame names its base. The file of the same path comes first; else
/// a file of the same directory that is gone from the new tree and has a similar name, as
/// `library-1.4.jar` became `library-1.5.jar`; else one that is gone from elsewhere.
struct BaseFinder {
    private let old: TreeManifest
    private let byPath: [TreePath: Int]
    private var gone: [TreePath: [Int]] = [:]
    /// What is gone, by its ending, then by size.
    private var bySize: [[UInt8]: [Int]] = [:]

    init(from old: TreeManifest, to new: TreeManifest) {
        self.old = old
        byPath = BundlePlan.filesByPath(old)
        let kept = BundlePlan.filesByPath(new)
        for (index, entry) in old.entries.enumerated() {
            guard let size = entry.fileSize, size > 0, kept[entry.path] == nil else { continue }
            gone[entry.path.parent ?? TreePath(bytes: []), default: []].append(index)
            bySize[Self.ending(of: entry.path), default: []].append(index)
        }
        for ending in bySize.keys {
            bySize[ending]?.sort {
                (old.entries[$0].fileSize ?? 0, $0) < (old.entries[$1].fileSize ?? 0, $1)
            }
        }
    }

    /// The old file of the same path, which a group takes as its base.
    func sameFile(as entry: TreeEntry) -> Int? {
        guard let same = byPath[entry.path], old.entries[same].fileSize != 0 else { return nil }
        return same
    }

    /// The index of the old entry to use as a base, or `nil`.
    func base(for entry: TreeEntry) -> Int? {
        if let same = byPath[entry.path] {
            return old.entries[same].fileSize == 0 ? nil : same
        }
        return neighbour(of: entry) ?? elsewhere(entry)
    }

    /// A file that went from another directory: of the same ending, and of nearly the same length.
    /// A wrong guess costs no byte, only the search through it.
    private func elsewhere(_ entry: TreeEntry) -> Int? {
        guard let size = entry.fileSize, size >= Self.worthSearching,
            let candidates = bySize[Self.ending(of: entry.path)]
        else { return nil }
        var (low, high) = (0, candidates.count)
        while low < high {
            let middle = (low + high) / 2
            if (old.entries[candidates[middle]].fileSize ?? 0) < size {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let near = candidates[max(0, low - 1)..<min(candidates.count, low + 1)]
        let best = near.min { distance(of: $0, to: size) < distance(of: $1, to: size) }
        return best.flatMap { distance(of: $0, to: size) * 8 <= size ? $0 : nil }
    }

    private func distance(of index: Int, to size: Int64) -> Int64 {
        abs((old.entries[index].fileSize ?? 0) - size)
    }

    /// Below, a base saves less than naming it costs.
    private static let worthSearching: Int64 = 1_024

    private static func ending(of path: TreePath) -> [UInt8] {
        let name = path.name.bytes
        return name.lastIndex(of: UInt8(ascii: ".")).map { Array(name[$0...]) } ?? []
    }

    private func neighbour(of entry: TreeEntry) -> Int? {
        guard let candidates = gone[entry.path.parent ?? TreePath(bytes: [])] else { return nil }
        // Entries are sorted: similar names stand beside the place where this one would stand.
        var (low, high) = (0, candidates.count)
        while low < high {
            let middle = (low + high) / 2
            if old.entries[candidates[middle]].path < entry.path {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let name = entry.path.name.bytes
        var best: (index: Int, score: Int)?
        for candidate in candidates[max(0, low - 2)..<min(candidates.count, low + 2)] {
            let score = Self.similarity(name, old.entries[candidate].path.name.bytes)
            if score * 2 >= name.count, score > best?.score ?? 0 { best = (candidate, score) }
        }
        return best?.index
    }

    /// How many bytes two names share at their beginning and their end.
    private static func similarity(_ left: [UInt8], _ right: [UInt8]) -> Int {
        let shorter = min(left.count, right.count)
        let prefix = zip(left, right).prefix { $0 == $1 }.count
        let suffix = zip(left.reversed(), right.reversed()).prefix { $0 == $1 }.count
        return prefix + min(suffix, shorter - prefix)
    }
}
