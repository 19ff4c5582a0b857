#if SQLite
internal import SQLiteEngine

extension Schema {
    /// Large results and the polling frequencies of groups.
    ///
    /// - `large_result`: one row an upload, without its bytes; `digest` is set once it is complete.
    /// - `large_result_chunk`: its bytes, a row a chunk; no other table's pages are filled with them.
    /// - `group_polling`: groups that have a frequency; the others have no row.
    static let largeResults = """
        CREATE TABLE large_result (
            idx INTEGER NOT NULL PRIMARY KEY,
            number INTEGER NOT NULL,
            device_idx INTEGER NOT NULL,
            upload BLOB NOT NULL,
            begun INTEGER NOT NULL,
            chunks INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            digest BLOB,
            received INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX large_result_upload ON large_result (number, device_idx, upload);
        CREATE INDEX large_result_begun ON large_result (begun) WHERE digest IS NULL;
        CREATE TABLE large_result_chunk (
            idx INTEGER NOT NULL PRIMARY KEY,
            number INTEGER NOT NULL,
            device_idx INTEGER NOT NULL,
            upload BLOB NOT NULL,
            place INTEGER NOT NULL,
            bytes BLOB NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX large_result_chunk_place
            ON large_result_chunk (number, device_idx, upload, place);
        CREATE TABLE group_polling (
            group_idx INTEGER NOT NULL PRIMARY KEY,
            frequency INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        """
}
#endif
