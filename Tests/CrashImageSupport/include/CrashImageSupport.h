#ifndef REEVE_CRASH_IMAGE_SUPPORT_H
#define REEVE_CRASH_IMAGE_SUPPORT_H

#include <stdint.h>

// A SQLite VFS over the system's own that remembers what was written and what was synced, and can
// fail. For tests only.
//
// Installed once, it is the default VFS of the process and passes everything through. While a
// session runs, what happens to files whose path begins with the session's prefix is an event:
// write, truncate, sync, delete. From the events a crash image can be made for any moment: the files
// as a power cut could have left them. Shared memory is not part of an image, as it is not part of
// a disk.

enum {
    CRASH_EVENT_BASE = 0, // what a file held when it was first opened; durable
    CRASH_EVENT_WRITE = 1,
    CRASH_EVENT_TRUNCATE = 2,
    CRASH_EVENT_SYNC = 3,
    CRASH_EVENT_FAILED_SYNC = 4,
    CRASH_EVENT_DELETE = 5
};

enum {
    CRASH_KEEP_NONE = 0,  // of what was not synced, nothing survives
    CRASH_KEEP_ALL = 1,   // everything survives: the process died, the machine did not
    CRASH_KEEP_SOME = 2   // a random subset of the 512-byte sectors of each write survives
};

enum {
    CRASH_FAULT_WRITE = 1,
    CRASH_FAULT_GROWTH = 2, // writes that make a file longer: a full disk
    CRASH_FAULT_SYNC = 3,
    CRASH_FAULT_READ = 4
};

// Makes the VFS the default one. Doing it twice is harmless. 0, or a SQLite error.
int crash_install(void);

// Begins a session for files below `prefix`, forgetting the one before.
void crash_begin(const char *prefix);
// Ends the session; its events stay until the next one.
void crash_end(void);

int64_t crash_event_count(void);
int32_t crash_event_kind(int64_t index);
// The name of the file behind the prefix.
const char *crash_event_file(int64_t index);

// Writes into `directory` the files as a power cut after the first `events` events could have left
// them. Cheap if `events` does not fall from one call to the next. 0, or an errno.
int crash_image(int64_t events, int32_t kept, uint64_t seed, const char *directory);

// From now on, of the calls of a kind that concern files whose name ends with `suffix`, lets `skipped`
// pass and then fails `count` with `code` (a SQLite result, SQLITE_FULL for one).
void crash_fail(int32_t fault, const char *suffix, int64_t skipped, int64_t count, int32_t code);
void crash_fail_none(void);
// How many calls have failed since crash_begin.
int64_t crash_failed_calls(void);

// The file at `path`, read through the system's VFS: 0 and a digest of all rows of all tables but
// the epoch, which each opening raises; else a SQLite error, SQLITE_CORRUPT also for a file that
// fails the integrity check. `*tables` is the number of tables.
int crash_digest(const char *path, uint64_t *digest, int64_t *tables);

// The names of the tables of the file at `path` that have no row, each followed by a space; `*tables`
// is the number of all tables. 0, or a SQLite error.
int crash_empty_tables(const char *path, char *names, int capacity, int *tables);

#endif
