#if SQLite
internal import SQLiteEngine

/// The schema of a worker's file. Steps that have landed are never edited.
enum ReplicaSchema {
    static let migrations = [
        // `replica`: one row a replica row. A snapshot is written under the next generation, and the
        // last page makes that the one that is served. `spool`: entries by number.
        Migration(
            1,
            "replica and spool",
            """
            CREATE TABLE replica (
                generation INTEGER NOT NULL,
                kind INTEGER NOT NULL,
                key BLOB NOT NULL,
                body BLOB NOT NULL,
                sum INTEGER NOT NULL,
                PRIMARY KEY (generation, kind, key)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE spool (
                number INTEGER NOT NULL PRIMARY KEY,
                received INTEGER NOT NULL,
                entry BLOB NOT NULL,
                sum INTEGER NOT NULL
            ) STRICT;
            """
        )
    ]

    /// The digests of the steps that have landed.
    static let landed: [Int64: Int64] = [1: -1_192_620_026_768_911_804]

    /// The names of values in the table `meta`.
    enum Meta {
        static let incarnation = "incarnation"
        static let position = "position"
        static let epoch = "epoch"
        static let mark = "mark"
        static let lastNumber = "last-number"
    }
}
#endif
