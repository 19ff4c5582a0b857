// Rows of the embedded store as C writes and reads them: the checksum a row, bound and compared on the
// way, and the binary coding of lists. It follows RowChecksum.swift and ByteWriter.
#ifndef ROWS_H
#define ROWS_H
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAIL(db, what) \
    do { fprintf(stderr, "%s:%d %s: %s\n", __FILE__, __LINE__, what, db ? sqlite3_errmsg(db) : ""); exit(1); } while (0)

// MARK: The sum

static inline uint64_t mix(uint64_t state, uint64_t word) {
    state = (state ^ word) * 0xFF51AFD7ED558CCDull;
    return state ^ state >> 32;
}

static inline uint64_t sum_bytes(uint64_t state, const void *bytes, size_t count) {
    const unsigned char *at = bytes;
    state = mix(state, count);
    for (; count >= 8; at += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        state = mix(state, word);
    }
    if (count) {
        uint64_t word = 0;
        for (size_t i = 0; i < count; i++) word |= (uint64_t)at[i] << (8 * i);
        state = mix(state, word);
    }
    return state;
}

static inline uint64_t sum_table(const char *table) {
    return sum_bytes(0xCBF29CE484222325ull, table, strlen(table));
}

// Compares the sum in column `last` with the columns before it.
static inline void verify(sqlite3_stmt *s, const char *table, int last) {
    uint64_t sum = sum_table(table);
    for (int i = 0; i < last; i++) {
        switch (sqlite3_column_type(s, i)) {
        case SQLITE_NULL: sum = mix(sum, 0x6E756C6C); break;
        case SQLITE_INTEGER: sum = mix(mix(sum, 0x696E7400), sqlite3_column_int64(s, i)); break;
        case SQLITE_TEXT: {
            const void *text = sqlite3_column_text(s, i);
            sum = sum_bytes(mix(sum, 0x74787400), text, sqlite3_column_bytes(s, i));
            break;
        }
        default: {
            const void *blob = sqlite3_column_blob(s, i);
            sum = sum_bytes(mix(sum, 0x626C6F62), blob, sqlite3_column_bytes(s, i));
        }
        }
    }
    if ((int64_t)sum != sqlite3_column_int64(s, last)) FAIL(sqlite3_db_handle(s), table);
}

// MARK: Writing a row

typedef struct { sqlite3_stmt *s; int i; uint64_t sum; } Row;

static inline Row row_of(sqlite3_stmt *s, uint64_t table) { return (Row){s, 0, table}; }
static inline void row_int(Row *r, int64_t value) {
    sqlite3_bind_int64(r->s, ++r->i, value);
    r->sum = mix(mix(r->sum, 0x696E7400), value);
}
static inline void row_null(Row *r) {
    sqlite3_bind_null(r->s, ++r->i);
    r->sum = mix(r->sum, 0x6E756C6C);
}
// The bytes stay where they are until the row is stored: SQLite need not copy them.
static inline void row_text(Row *r, const char *text, int count) {
    sqlite3_bind_text(r->s, ++r->i, text, count, SQLITE_STATIC);
    r->sum = sum_bytes(mix(r->sum, 0x74787400), text, count);
}
static inline void row_blob(Row *r, const void *bytes, int count) {
    if (count) sqlite3_bind_blob(r->s, ++r->i, bytes, count, SQLITE_STATIC);
    else sqlite3_bind_zeroblob(r->s, ++r->i, 0);
    r->sum = sum_bytes(mix(r->sum, 0x626C6F62), bytes, count);
}

static inline void run(sqlite3_stmt *s) {
    int result = sqlite3_step(s);
    if (result != SQLITE_DONE) FAIL(sqlite3_db_handle(s), sqlite3_sql(s));
    sqlite3_reset(s);
}
static inline void row_store(Row *r) {
    sqlite3_bind_int64(r->s, ++r->i, (int64_t)r->sum);
    run(r->s);
}
// Steps a query; resets it when there is no row.
static inline int next_row(sqlite3_stmt *s) {
    int result = sqlite3_step(s);
    if (result == SQLITE_ROW) return 1;
    if (result != SQLITE_DONE) FAIL(sqlite3_db_handle(s), sqlite3_sql(s));
    sqlite3_reset(s);
    return 0;
}

// MARK: Lists of bytes

typedef struct { unsigned char *at; size_t count, room; } Bytes;

static inline void put(Bytes *b, const void *bytes, size_t count) {
    if (b->count + count > b->room) {
        b->room = (b->count + count) * 2;
        b->at = realloc(b->at, b->room);
    }
    memcpy(b->at + b->count, bytes, count);
    b->count += count;
}
static inline void put_byte(Bytes *b, unsigned char byte) { put(b, &byte, 1); }
static inline void put_count(Bytes *b, uint64_t value) {
    for (; value >= 0x80; value >>= 7) put_byte(b, value | 0x80);
    put_byte(b, value);
}
static inline void put_int(Bytes *b, int64_t value) { put_count(b, (uint64_t)(value << 1) ^ (uint64_t)(value >> 63)); }
static inline void put_text(Bytes *b, const char *text, size_t count) {
    put_count(b, count);
    put(b, text, count);
}
#endif
