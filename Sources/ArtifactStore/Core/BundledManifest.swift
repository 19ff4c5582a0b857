internal import ClusterRole

// A manifest as it travels in a bundle: as the canonical form, but without the digests that the
// receiver computes anyway. Two more kinds of entry stand for that:
//   3, path, mode, size      a file whose content the bundle carries
//   4, path, mode, ordinal   a file with the content of the carried file of that ordinal (from 0)
// In a tree that keeps times (version 2) both have the time behind their mode, too.
// The root proves the result: a receiver fills the digests in, encodes, and compares.

/// A manifest whose carried files still lack their digests. Its entries are checked, all else is.
struct BundledManifest {
    /// Sorted and safe to lay out. A file that is in ``elided`` has a digest of zeros.
    private(set) var entries: [TreeEntry] = []
    /// Where the content of the files without a digest comes from.
    private(set) var elided: [Int: BundlePlan.Origin] = [:]

    static func encode(_ manifest: TreeManifest, _ plan: BundlePlan) -> [UInt8] {
        var ordinals: [Int: Int] = [:]
        for (ordinal, index) in plan.carried.enumerated() { ordinals[index] = ordinal }
        var origins: [Int: BundlePlan.Origin] = [:]
        for (index, origin) in plan.files { origins[index] = origin }
        var writer = ByteWriter(capacity: manifest.encoded.count)
        writer.write(manifest.keepsTimes ? TreeManifest.timedVersion : TreeManifest.version)
        writer.writeVariable(UInt64(manifest.entries.count))
        for (index, entry) in manifest.entries.enumerated() {
            switch (origins[index], entry.content) {
            case (.bundle, .file(let size, _)):
                TreeManifest.writeHead(of: entry, kind: .carriedFile, to: &writer)
                writer.writeVariable(UInt64(size))
            case (.twin(let first), .file):
                TreeManifest.writeHead(of: entry, kind: .twinFile, to: &writer)
                writer.writeVariable(UInt64(ordinals[first] ?? 0))
            default: TreeManifest.write(entry, to: &writer)
            }
        }
        return writer.bytes
    }

    /// Decodes what ``encode(_:_:)`` made, and believes nothing of it.
    init(
        decoding bytes: [UInt8],
        limits: TreeLimits,
        links: LinkPolicy
    ) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        var rules = TreeRules(limits: limits, links: links, count: 0)
        try rules.checkManifest(bytes: bytes.count)
        do {
            let version = try reader.expectVersion(
                TreeManifest.version...TreeManifest.timedVersion,
                of: "tree manifests"
            )
            let count = try reader.readCount(elementSize: 4)
            try rules.checkCount(count)
            entries.reserveCapacity(count)
            var carried: [Int] = []
            for index in 0..<count {
                let entry = try readEntry(index, version, &carried, from: &reader)
                try rules.check(entry)
                entries.append(entry)
            }
            try reader.expectEnd()
            try rules.checkTimes(kept: version == TreeManifest.timedVersion)
        } catch let error as ArtifactStoreError {
            throw error
        } catch {
            throw .malformed("The manifest of the bundle cannot be read.", cause: error)
        }
        try rules.checkLinks()
    }

    private mutating func readEntry(
        _ index: Int,
        _ version: UInt8,
        _ carried: inout [Int],
        from reader: inout ByteReader
    ) throws -> TreeEntry {
        let kind = try TreeManifest.readKind(from: &reader)
        let hasTime = version == TreeManifest.timedVersion
        switch kind {
        case .directory, .file, .link:
            return try TreeManifest.readEntry(kind, version, from: &reader)
        case .carriedFile:
            let (path, mode, time) = try TreeManifest.readHead(hasTime: hasTime, from: &reader)
            let size = try TreeManifest.readSize(from: &reader)
            guard size > 0 else {
                throw ClusterRoleError(.malformed, "A carried file has no bytes.")
            }
            elided[index] = .bundle
            carried.append(index)
            return Self.carried(path, mode, time, size: size)
        case .twinFile:
            let (path, mode, time) = try TreeManifest.readHead(hasTime: hasTime, from: &reader)
            let ordinal = try reader.readVariable()
            guard ordinal < UInt64(carried.count), case let first = carried[Int(ordinal)],
                let size = entries[first].fileSize
            else {
                throw ClusterRoleError(.malformed, "A twin comes before the file it is one of.")
            }
            elided[index] = .twin(first)
            return Self.carried(path, mode, time, size: size)
        }
    }

    private static func carried(
        _ path: TreePath,
        _ mode: UInt16,
        _ modified: Int64?,
        size: Int64
    ) -> TreeEntry {
        TreeEntry(
            path: path,
            mode: mode,
            content: .file(size: size, digest: .zero),
            modified: modified
        )
    }

    /// How many files there are, and their bytes.
    var fileCount: Int { entries.count { $0.fileSize != nil } }
    var totalBytes: Int64 { entries.reduce(0) { $0 + ($1.fileSize ?? 0) } }

    /// The manifest, once the content of every carried file has passed by.
    ///
    /// - Parameter digests: by entry.
    /// - Throws: ``ArtifactStoreError`` with code `digestMismatch` unless its root is `root`.
    func completed(
        with digests: [Int: ContentDigest],
        root: TreeID
    ) throws(ArtifactStoreError) -> TreeManifest {
        var complete = entries
        for (index, origin) in elided {
            let source = if case .twin(let first) = origin { first } else { index }
            complete[index] = TreeEntry(
                path: entries[index].path,
                mode: entries[index].mode,
                content: .file(
                    size: entries[index].fileSize ?? 0,
                    digest: digests[source] ?? .zero
                ),
                modified: entries[index].modified
            )
        }
        let manifest = TreeManifest(
            checked: complete,
            encoded: TreeManifest.encode(complete)
        )
        guard manifest.id == root else {
            throw ArtifactStoreError(
                .digestMismatch,
                "What the bundle holds is not the tree the release was signed for. It is fetched again."
            )
        }
        return manifest
    }
}

extension ContentDigest {
    /// Stands where no digest is known yet.
    static var zero: ContentDigest { ContentDigest(high: 0, low: 0) }
}
