#if SQLite
/// One step of a file's schema. Steps go forward only; a step that has landed is never edited.
package struct Migration: Sendable {
    /// Grows from 1 on, without gaps.
    package let number: Int64
    /// Unique.
    package let name: String
    /// The statements, run in one transaction.
    package let sql: String

    package init(_ number: Int64, _ name: String, _ sql: String) {
        self.number = number
        self.name = name
        self.sql = sql
    }

    /// What the file keeps of an applied step, and a lint of the sources keeps of a landed one.
    package var digest: Int64 { RowChecksum.digest(of: sql) }

    /// What is wrong with a list of steps: numbers with gaps, names used twice, texts that no longer
    /// have the digest recorded when they landed, steps without a recorded digest.
    package static func problems(in list: [Migration], landed: [Int64: Int64]) -> [String] {
        var problems: [String] = []
        var names: Set<String> = []
        for (index, step) in list.enumerated() {
            if step.number != Int64(index) + 1 {
                problems.append("\(step.name) has number \(step.number), not \(index + 1)")
            }
            if !names.insert(step.name).inserted {
                problems.append("the name \(step.name) is used twice")
            }
            switch landed[step.number] {
            case nil: problems.append("\(step.name) has no recorded digest (\(step.digest))")
            case .some(step.digest): break
            case .some: problems.append("\(step.name) was edited after it had landed")
            }
        }
        for number in landed.keys.sorted() where !list.contains(where: { $0.number == number }) {
            problems.append("step \(number) has landed and is gone")
        }
        return problems
    }

    static let floor = """
        CREATE TABLE IF NOT EXISTS meta (
            name TEXT NOT NULL PRIMARY KEY,
            number INTEGER NOT NULL,
            bytes BLOB,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS migration (
            number INTEGER NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            digest INTEGER NOT NULL
        ) STRICT;
        """

    /// Brings a file up to the newest step.
    ///
    /// - Throws: ``SQLiteStorageError`` with `newerSchema` or `foreignSchema`; the file is then
    ///   unchanged.
    package static func apply(_ list: [Migration], to connection: SQLConnection) throws {
        try connection.script("BEGIN IMMEDIATE")
        do {
            try connection.script(floor)
            let applied = try connection.rows(
                "SELECT number, name, digest FROM migration ORDER BY number"
            ) { (number: $0.int64(0), name: $0.text(1), digest: $0.int64(2)) }
            if let newest = applied.last, newest.number > Int64(list.count) {
                throw SQLiteStorageError(
                    .newerSchema,
                    "The file has schema \(newest.number) (\(newest.name)); this build knows up to "
                        + "\(list.count). Start the newer version, or restore an older backup."
                )
            }
            for (known, step) in zip(applied, list) where known.digest != step.digest {
                throw SQLiteStorageError(
                    .foreignSchema,
                    "The file's schema step \(known.number) (\(known.name)) is not this build's. It is "
                        + "the file of another program, or of a build that never was released."
                )
            }
            for step in list.dropFirst(applied.count) {
                try connection.script(step.sql)
                try connection.run(
                    "INSERT INTO migration (number, name, digest) VALUES (?, ?, ?)",
                    step.number,
                    step.name,
                    step.digest
                )
            }
            try connection.script("COMMIT")
        } catch {
            if connection.isInTransaction { try? connection.script("ROLLBACK") }
            throw error
        }
    }
}
#endif
