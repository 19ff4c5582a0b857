internal import ClusterRole

/// What the file system said of a file when its content was digested: enough to tell, later, that
/// nobody has written to it since.
struct FileMark: Hashable {
    let inode: UInt64
    /// Nanoseconds since 1970, as the file system counts.
    let modified: Int64
    let changed: Int64
}

/// The marks of a tree's files, kept beside it so that unchanged files need not be read again.
///
/// As in git's index, a file written at or after the time the marks were begun may have been written
/// once more within the same tick of the clock: its mark proves nothing, and it is read.
struct FileMarks {
    /// How far a match goes.
    enum Rule {
        /// Inode, size and time of the content: for trees of hard links, whose other times move.
        case content
        /// The time of the last change of any kind too, which no program can set back.
        case contentAndChange
    }

    let root: TreeID
    /// By the file system's clock.
    let time: Int64
    /// By entry of the manifest; `nil` for what is no file, or not known.
    let marks: [FileMark?]

    /// Whether the file of an entry is what it was.
    func isUnchanged(
        _ entry: Int,
        _ found: FileMark,
        by rule: Rule
    ) -> Bool {
        guard marks.indices.contains(entry), let mark = marks[entry], mark.inode == found.inode,
            mark.modified == found.modified, mark.modified < time
        else { return false }
        switch rule {
        case .content: return true
        case .contentAndChange: return mark.changed == found.changed && mark.changed < time
        }
    }

    /// Version 1: root, time, number of entries, for each a byte that says whether there is a mark,
    /// inode, modified and changed; then the SHA-256 of all that.
    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: marks.count * 24 + 96)
        writer.write(Self.version)
        writer.write(root.digest)
        writer.write(time)
        writer.writeVariable(UInt64(marks.count))
        for mark in marks {
            writer.write(optional: mark) {
                $0.writeVariable($1.inode)
                $0.write($1.modified)
                $0.write($1.changed)
            }
        }
        writer.write(ContentDigest(of: writer.bytes))
        return writer.bytes
    }

    static let version: UInt8 = 1

    init(root: TreeID, time: Int64, marks: [FileMark?]) {
        self.root = root
        self.time = time
        self.marks = marks
    }

    /// Decodes ``encoded``; `nil` for anything damaged, which costs no more than reading the files.
    init?(decoding bytes: [UInt8], of manifest: TreeManifest) {
        let length = bytes.count - ContentDigest.byteCount
        guard length > 0 else { return nil }
        do {
            var end = ByteReader(bytes[length...])
            guard try end.readDigest() == ContentDigest(of: Array(bytes[..<length])) else {
                return nil
            }
            var reader = ByteReader(bytes[..<length])
            try reader.expectVersion(Self.version, of: "file marks")
            root = TreeID(try reader.readDigest())
            time = try reader.readInt64()
            let count = try reader.readCount()
            guard root == manifest.id, count == manifest.entries.count else { return nil }
            var marks: [FileMark?] = []
            marks.reserveCapacity(count)
            for _ in 0..<count {
                marks.append(
                    try reader.readBool()
                        ? FileMark(
                            inode: try reader.readVariable(),
                            modified: try reader.readInt64(),
                            changed: try reader.readInt64()
                        ) : nil
                )
            }
            try reader.expectEnd()
            self.marks = marks
        } catch {
            return nil
        }
    }
}
