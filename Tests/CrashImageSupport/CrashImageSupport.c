#include "CrashImageSupport.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if __has_include(<sqlite3.h>)
#include <sqlite3.h>

#define MAXIMUM_FILES 16
#define SECTOR 512

struct event {
    int32_t kind;
    int32_t file;
    int64_t offset;
    int64_t length;
    uint8_t *bytes;
};

struct fault {
    int32_t fault;
    char suffix[32];
    int64_t skipped;
    int64_t count;
    int32_t code;
};

// One file while an image is made: what is durable, and which events since are not.
struct image_file {
    uint8_t *bytes;
    int64_t length;
    int64_t capacity;
    int exists;
    int64_t *pending;
    int64_t pending_count;
    int64_t pending_capacity;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int is_recording;
static char prefix[1024];
static char *files[MAXIMUM_FILES];
static int file_count;
static struct event *events;
static int64_t event_count, event_capacity;
static struct fault fault;
static int64_t failed_calls;
static struct image_file images[MAXIMUM_FILES];
static int64_t image_position;

// ---- Events

static void *grown(void *block, size_t size) {
    void *result = realloc(block, size);
    if (!result) abort();
    return result;
}

static void append_event(int kind, int file, int64_t offset, int64_t length, const void *bytes) {
    if (event_count == event_capacity) {
        event_capacity = event_capacity ? event_capacity * 2 : 1024;
        events = grown(events, (size_t)event_capacity * sizeof *events);
    }
    struct event *event = &events[event_count++];
    *event = (struct event){kind, file, offset, length, NULL};
    if (bytes && length > 0) {
        event->bytes = grown(NULL, (size_t)length);
        memcpy(event->bytes, bytes, (size_t)length);
    }
}

// The number of the file, or -1 if no session is about it. Call it with the lock held.
static int file_number(const char *path) {
    if (!is_recording || !path) return -1;
    size_t length = strlen(prefix);
    if (strncmp(path, prefix, length) != 0) return -1;
    for (int i = 0; i < file_count; i++)
        if (strcmp(files[i], path + length) == 0) return i;
    if (file_count == MAXIMUM_FILES) return -1;
    files[file_count] = strdup(path + length);
    return file_count++;
}

static void note(int kind, int file, int64_t offset, int64_t length, const void *bytes) {
    if (file < 0) return;
    pthread_mutex_lock(&lock);
    if (is_recording && file < file_count) append_event(kind, file, offset, length, bytes);
    pthread_mutex_unlock(&lock);
}

static int ends_with(const char *name, const char *suffix) {
    size_t left = strlen(name), right = strlen(suffix);
    return left >= right && strcmp(name + left - right, suffix) == 0;
}

// What a call is to fail with; SQLITE_OK for not at all.
static int failure(int32_t kind, int file) {
    if (file < 0) return SQLITE_OK;
    int code = SQLITE_OK;
    pthread_mutex_lock(&lock);
    if (is_recording && fault.fault == kind && fault.count > 0 && file < file_count
        && ends_with(files[file], fault.suffix)) {
        if (fault.skipped > 0) {
            fault.skipped--;
        } else {
            fault.count--;
            failed_calls++;
            code = fault.code;
        }
    }
    pthread_mutex_unlock(&lock);
    return code;
}

// ---- The VFS

struct shim_file {
    sqlite3_file base;
    int file;
    sqlite3_file *real;
};

#define REAL(f) (((struct shim_file *)(f))->real)
#define NUMBER(f) (((struct shim_file *)(f))->file)

static sqlite3_vfs *system_vfs;

static int shim_close(sqlite3_file *f) {
    sqlite3_file *real = REAL(f);
    return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int shim_read(sqlite3_file *f, void *bytes, int count, sqlite3_int64 offset) {
    int code = failure(CRASH_FAULT_READ, NUMBER(f));
    return code ? code : REAL(f)->pMethods->xRead(REAL(f), bytes, count, offset);
}

static int shim_write(sqlite3_file *f, const void *bytes, int count, sqlite3_int64 offset) {
    int code = failure(CRASH_FAULT_WRITE, NUMBER(f));
    if (code) return code;
    sqlite3_int64 size = 0;
    REAL(f)->pMethods->xFileSize(REAL(f), &size);
    if (offset + count > size && (code = failure(CRASH_FAULT_GROWTH, NUMBER(f)))) return code;
    code = REAL(f)->pMethods->xWrite(REAL(f), bytes, count, offset);
    if (!code) note(CRASH_EVENT_WRITE, NUMBER(f), offset, count, bytes);
    return code;
}

static int shim_truncate(sqlite3_file *f, sqlite3_int64 size) {
    int code = REAL(f)->pMethods->xTruncate(REAL(f), size);
    if (!code) note(CRASH_EVENT_TRUNCATE, NUMBER(f), size, 0, NULL);
    return code;
}

static int shim_sync(sqlite3_file *f, int flags) {
    int code = failure(CRASH_FAULT_SYNC, NUMBER(f));
    if (!code) code = REAL(f)->pMethods->xSync(REAL(f), flags);
    note(code ? CRASH_EVENT_FAILED_SYNC : CRASH_EVENT_SYNC, NUMBER(f), 0, 0, NULL);
    return code;
}

static int shim_size(sqlite3_file *f, sqlite3_int64 *size) {
    return REAL(f)->pMethods->xFileSize(REAL(f), size);
}
static int shim_lock(sqlite3_file *f, int level) { return REAL(f)->pMethods->xLock(REAL(f), level); }
static int shim_unlock(sqlite3_file *f, int level) {
    return REAL(f)->pMethods->xUnlock(REAL(f), level);
}
static int shim_reserved(sqlite3_file *f, int *result) {
    return REAL(f)->pMethods->xCheckReservedLock(REAL(f), result);
}
static int shim_control(sqlite3_file *f, int operation, void *argument) {
    return REAL(f)->pMethods->xFileControl(REAL(f), operation, argument);
}
static int shim_sector(sqlite3_file *f) { return REAL(f)->pMethods->xSectorSize(REAL(f)); }
static int shim_device(sqlite3_file *f) {
    return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}
static int shim_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **where) {
    return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, where);
}
static int shim_shm_lock(sqlite3_file *f, int offset, int count, int flags) {
    return REAL(f)->pMethods->xShmLock(REAL(f), offset, count, flags);
}
static void shim_shm_barrier(sqlite3_file *f) { REAL(f)->pMethods->xShmBarrier(REAL(f)); }
static int shim_shm_unmap(sqlite3_file *f, int removes) {
    return REAL(f)->pMethods->xShmUnmap(REAL(f), removes);
}

// Version 2: shared memory, but no memory-mapped reading.
static const sqlite3_io_methods shim_methods = {
    2,             shim_close,   shim_read,    shim_write,   shim_truncate,    shim_sync,
    shim_size,     shim_lock,    shim_unlock,  shim_reserved, shim_control,    shim_sector,
    shim_device,   shim_shm_map, shim_shm_lock, shim_shm_barrier, shim_shm_unmap, NULL, NULL,
};

// Keeps what a file holds that was there before the session.
static void note_base(sqlite3_file *real, int file) {
    for (int64_t i = 0; i < event_count; i++)
        if (events[i].file == file) return;
    sqlite3_int64 size = 0;
    if (real->pMethods->xFileSize(real, &size) != SQLITE_OK || size == 0) return;
    uint8_t *bytes = grown(NULL, (size_t)size);
    if (real->pMethods->xRead(real, bytes, (int)size, 0) == SQLITE_OK)
        append_event(CRASH_EVENT_BASE, file, 0, size, bytes);
    free(bytes);
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out) {
    (void)vfs;
    struct shim_file *shim = (struct shim_file *)f;
    shim->real = (sqlite3_file *)(shim + 1);
    shim->real->pMethods = NULL;
    int code = system_vfs->xOpen(system_vfs, name, shim->real, flags, out);
    shim->base.pMethods = shim->real->pMethods ? &shim_methods : NULL;
    shim->file = -1;
    if (code) return code;
    pthread_mutex_lock(&lock);
    shim->file = file_number(name);
    if (shim->file >= 0) note_base(shim->real, shim->file);
    pthread_mutex_unlock(&lock);
    return SQLITE_OK;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int syncs) {
    (void)vfs;
    int code = system_vfs->xDelete(system_vfs, name, syncs);
    if (code) return code;
    pthread_mutex_lock(&lock);
    int file = file_number(name);
    if (file >= 0) append_event(CRASH_EVENT_DELETE, file, syncs, 0, NULL);
    pthread_mutex_unlock(&lock);
    return SQLITE_OK;
}

static int shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
    (void)vfs;
    return system_vfs->xAccess(system_vfs, name, flags, result);
}
static int shim_full_path(sqlite3_vfs *vfs, const char *name, int count, char *result) {
    (void)vfs;
    return system_vfs->xFullPathname(system_vfs, name, count, result);
}
static int shim_randomness(sqlite3_vfs *vfs, int count, char *result) {
    (void)vfs;
    return system_vfs->xRandomness(system_vfs, count, result);
}
static int shim_sleep(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return system_vfs->xSleep(system_vfs, microseconds);
}
static int shim_time(sqlite3_vfs *vfs, double *result) {
    (void)vfs;
    return system_vfs->xCurrentTime(system_vfs, result);
}
static int shim_time64(sqlite3_vfs *vfs, sqlite3_int64 *result) {
    (void)vfs;
    return system_vfs->xCurrentTimeInt64(system_vfs, result);
}
static int shim_error(sqlite3_vfs *vfs, int count, char *result) {
    (void)vfs;
    return system_vfs->xGetLastError ? system_vfs->xGetLastError(system_vfs, count, result) : 0;
}

static sqlite3_vfs shim_vfs;

int crash_install(void) {
    pthread_mutex_lock(&lock);
    int code = SQLITE_OK;
    if (!system_vfs) {
        system_vfs = sqlite3_vfs_find(NULL);
        shim_vfs = (sqlite3_vfs){
            .iVersion = 2,
            .szOsFile = (int)sizeof(struct shim_file) + system_vfs->szOsFile,
            .mxPathname = system_vfs->mxPathname,
            .zName = "reeve-crash",
            .xOpen = shim_open,
            .xDelete = shim_delete,
            .xAccess = shim_access,
            .xFullPathname = shim_full_path,
            .xRandomness = shim_randomness,
            .xSleep = shim_sleep,
            .xCurrentTime = shim_time,
            .xGetLastError = shim_error,
            .xCurrentTimeInt64 = shim_time64,
        };
        code = sqlite3_vfs_register(&shim_vfs, 1);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

// ---- Sessions

static void forget_images(void) {
    for (int i = 0; i < MAXIMUM_FILES; i++) {
        free(images[i].bytes);
        free(images[i].pending);
        images[i] = (struct image_file){0};
    }
    image_position = 0;
}

void crash_begin(const char *path) {
    pthread_mutex_lock(&lock);
    for (int64_t i = 0; i < event_count; i++) free(events[i].bytes);
    for (int i = 0; i < file_count; i++) free(files[i]);
    event_count = file_count = 0;
    forget_images();
    fault = (struct fault){0};
    failed_calls = 0;
    snprintf(prefix, sizeof prefix, "%s", path);
    is_recording = 1;
    pthread_mutex_unlock(&lock);
}

void crash_end(void) {
    pthread_mutex_lock(&lock);
    is_recording = 0;
    fault = (struct fault){0};
    pthread_mutex_unlock(&lock);
}

int64_t crash_event_count(void) {
    pthread_mutex_lock(&lock);
    int64_t count = event_count;
    pthread_mutex_unlock(&lock);
    return count;
}

int32_t crash_event_kind(int64_t index) { return events[index].kind; }
const char *crash_event_file(int64_t index) { return files[events[index].file]; }

void crash_fail(int32_t kind, const char *suffix, int64_t skipped, int64_t count, int32_t code) {
    pthread_mutex_lock(&lock);
    fault = (struct fault){.fault = kind, .skipped = skipped, .count = count, .code = code};
    snprintf(fault.suffix, sizeof fault.suffix, "%s", suffix);
    pthread_mutex_unlock(&lock);
}

void crash_fail_none(void) { crash_fail(0, "", 0, 0, SQLITE_OK); }

int64_t crash_failed_calls(void) {
    pthread_mutex_lock(&lock);
    int64_t count = failed_calls;
    pthread_mutex_unlock(&lock);
    return count;
}

// ---- Images

static uint64_t next_random(uint64_t *state) {
    uint64_t mixed = (*state += 0x9E3779B97F4A7C15);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
}

static void resize(struct image_file *file, int64_t length) {
    if (length > file->capacity) {
        file->capacity = length * 2;
        file->bytes = grown(file->bytes, (size_t)file->capacity);
    }
    if (length > file->length)
        memset(file->bytes + file->length, 0, (size_t)(length - file->length));
    file->length = length;
}

// Does one event to a file. `random` is NULL for all of it.
static void apply(struct image_file *file, const struct event *event, uint64_t *random) {
    switch (event->kind) {
    case CRASH_EVENT_BASE:
    case CRASH_EVENT_WRITE:
        file->exists = 1;
        for (int64_t at = 0; at < event->length;) {
            int64_t end = ((event->offset + at) / SECTOR + 1) * SECTOR - event->offset;
            if (end > event->length || !random) end = event->length;
            if (!random || (next_random(random) & 1)) {
                if (event->offset + end > file->length) resize(file, event->offset + end);
                memcpy(file->bytes + event->offset + at, event->bytes + at, (size_t)(end - at));
            }
            at = end;
        }
        break;
    case CRASH_EVENT_TRUNCATE:
        if (!random || (next_random(random) & 1)) resize(file, event->offset);
        break;
    case CRASH_EVENT_DELETE:
        file->exists = 0;
        file->length = 0;
        break;
    default: break;
    }
}

static void pend(struct image_file *file, int64_t index) {
    if (file->pending_count == file->pending_capacity) {
        file->pending_capacity = file->pending_capacity ? file->pending_capacity * 2 : 64;
        file->pending = grown(file->pending, (size_t)file->pending_capacity * sizeof(int64_t));
    }
    file->pending[file->pending_count++] = index;
}

// A sync commits the file system's journal, and with it every deletion before.
static void settle_deletions(void) {
    for (int i = 0; i < file_count; i++) {
        struct image_file *file = &images[i];
        for (int64_t at = file->pending_count - 1; at >= 0; at--) {
            if (events[file->pending[at]].kind != CRASH_EVENT_DELETE) continue;
            apply(file, &events[file->pending[at]], NULL);
            file->pending_count -= at + 1;
            memmove(
                file->pending, file->pending + at + 1,
                (size_t)file->pending_count * sizeof(int64_t)
            );
            break;
        }
    }
}

static void advance(int64_t position) {
    for (; image_position < position; image_position++) {
        const struct event *event = &events[image_position];
        struct image_file *file = &images[event->file];
        switch (event->kind) {
        case CRASH_EVENT_BASE: apply(file, event, NULL); break;
        case CRASH_EVENT_SYNC:
            file->exists = 1;
            settle_deletions();
            for (int64_t i = 0; i < file->pending_count; i++)
                apply(file, &events[file->pending[i]], NULL);
            file->pending_count = 0;
            break;
        case CRASH_EVENT_FAILED_SYNC:
            // The kernel counts the pages as clean now: no later sync writes them.
            file->pending_count = 0;
            break;
        case CRASH_EVENT_DELETE:
            if (event->offset) { // the directory was synced
                apply(file, event, NULL);
                file->pending_count = 0;
                break;
            }
            pend(file, image_position);
            break;
        default: pend(file, image_position);
        }
    }
}

// The file as it could be found: durable bytes and what is kept of the rest.
static struct image_file found(const struct image_file *durable, int32_t kept, uint64_t *random) {
    struct image_file file = {.exists = durable->exists};
    resize(&file, durable->length);
    if (durable->length > 0) memcpy(file.bytes, durable->bytes, (size_t)durable->length);
    if (kept == CRASH_KEEP_NONE) return file;
    for (int64_t i = 0; i < durable->pending_count; i++) {
        const struct event *event = &events[durable->pending[i]];
        uint64_t *chance = kept == CRASH_KEEP_ALL ? NULL : random;
        // A deletion that did not reach the disk: what came after it went to another file.
        if (event->kind == CRASH_EVENT_DELETE && chance && (next_random(chance) & 1)) break;
        apply(&file, event, chance);
    }
    return file;
}

static int store(const struct image_file *file, const char *path) {
    if (!file->exists) return unlink(path) == 0 || errno == ENOENT ? 0 : errno;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (descriptor < 0) return errno;
    int64_t done = 0;
    while (done < file->length) {
        ssize_t count = write(descriptor, file->bytes + done, (size_t)(file->length - done));
        if (count < 0) {
            int reason = errno;
            close(descriptor);
            return reason;
        }
        done += count;
    }
    return close(descriptor) == 0 ? 0 : errno;
}

int crash_image(int64_t count, int32_t kept, uint64_t seed, const char *directory) {
    pthread_mutex_lock(&lock);
    if (count > event_count) count = event_count;
    if (count < image_position) forget_images();
    advance(count);
    int result = 0;
    uint64_t random = seed;
    for (int i = 0; i < file_count && result == 0; i++) {
        char path[2048];
        snprintf(path, sizeof path, "%s%s", directory, files[i]);
        struct image_file file = found(&images[i], kept, &random);
        result = store(&file, path);
        free(file.bytes);
        snprintf(path, sizeof path, "%s%s-shm", directory, files[i]);
        unlink(path);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

// ---- Digests

static void mix(uint64_t *digest, const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < count; i++) *digest = (*digest ^ at[i]) * 0x100000001B3;
    *digest = (*digest ^ count) * 0x100000001B3;
}

static int digest_rows(sqlite3 *database, const char *sql, uint64_t *digest) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW) break;
        for (int column = 0; column < sqlite3_column_count(statement); column++) {
            int type = sqlite3_column_type(statement, column);
            mix(digest, &type, sizeof type);
            const void *bytes = sqlite3_column_blob(statement, column);
            mix(digest, bytes, (size_t)sqlite3_column_bytes(statement, column));
        }
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int digest_tables(sqlite3 *database, uint64_t *digest, int64_t *tables) {
    sqlite3_stmt *names = NULL;
    int code = sqlite3_prepare_v2(
        database, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", -1, &names,
        NULL
    );
    while (code == SQLITE_OK && (code = sqlite3_step(names)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(names, 0);
        char sql[512];
        snprintf(
            sql, sizeof sql, "SELECT * FROM \"%s\"%s", name,
            strcmp(name, "meta") == 0 ? " WHERE name <> 'epoch'" : ""
        );
        mix(digest, name, strlen(name));
        code = digest_rows(database, sql, digest);
        *tables += 1;
    }
    sqlite3_finalize(names);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int check_integrity(sqlite3 *database) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(database, "PRAGMA integrity_check(1)", -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const char *answer = (const char *)sqlite3_column_text(statement, 0);
        code = answer && strcmp(answer, "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
    }
    sqlite3_finalize(statement);
    return code;
}

int crash_empty_tables(const char *path, char *names, int capacity, int *tables) {
    sqlite3 *database = NULL;
    sqlite3_stmt *statement = NULL;
    names[0] = 0;
    *tables = 0;
    int code = sqlite3_open_v2(path, &database, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(
            database,
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
            "ORDER BY name",
            -1, &statement, NULL
        );
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        char sql[512];
        snprintf(sql, sizeof sql, "SELECT 1 FROM \"%s\" LIMIT 1", name);
        sqlite3_stmt *rows = NULL;
        code = sqlite3_prepare_v2(database, sql, -1, &rows, NULL);
        if (code == SQLITE_OK && sqlite3_step(rows) == SQLITE_DONE) {
            strncat(names, name, (size_t)capacity - strlen(names) - 1);
            strncat(names, " ", (size_t)capacity - strlen(names) - 1);
        }
        sqlite3_finalize(rows);
        *tables += 1;
    }
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int crash_digest(const char *path, uint64_t *digest, int64_t *tables) {
    sqlite3 *database = NULL;
    *digest = 0xCBF29CE484222325;
    *tables = 0;
    int code = sqlite3_open_v2(
        path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
        system_vfs ? system_vfs->zName : NULL
    );
    // The image stays as it is: closing would move the log into the database.
    sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_busy_timeout(database, 5000);
    if (code == SQLITE_OK) code = check_integrity(database);
    if (code == SQLITE_OK) code = sqlite3_exec(database, "BEGIN", NULL, NULL, NULL);
    if (code == SQLITE_OK) code = digest_tables(database, digest, tables);
    sqlite3_close(database);
    return code;
}

#else
// Without the trait SQLite and its headers nothing here is called.
int crash_install(void) { return 1; }
#endif
