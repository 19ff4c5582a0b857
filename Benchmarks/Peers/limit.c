// The limit: what a C program with prepared statements makes of the embedded store's own file. It reads
// and writes the rows the library reads and writes, with their checksums, in WAL with synchronous=FULL;
// it has no types, no errors to recover from and nobody to share the file with.
//
//   limit FILE WORKLOAD [n=N] [clients=K] [ops=H]
//
// FILE was made by the library and can be opened by it afterwards. Prints one line, tab-separated:
// contender, workload, operations, seconds, operations/s, CPU us each, peak MB, note.
#define _GNU_SOURCE
#include "rows.h"
#include <pthread.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define PAYLOAD_BYTES 200
#define DETAIL "{\"status\":\"ok\",\"elapsedMs\":1234}"
#define STATES 13
enum { PENDING = 0, DELIVERED = 1, COMPLETED = 6 };

typedef struct { char id[64]; int length; int64_t idx; } Device;
static Device *devices;
static long device_count;
static char tenant[64];
static int tenant_length;
static const char *path;
static unsigned char payload[PAYLOAD_BYTES];

static double wall(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static double cpu(void) { struct timespec t; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static int64_t milliseconds(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return t.tv_sec * 1000ll + t.tv_nsec / 1000000; }
static long scattered(long i, long n) { return i * 61803l % n; }

static void report(const char *workload, long count, double seconds, double used, const char *note) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("limit\t%s\t%ld\t%.6f\t%.1f\t%.3f\t%.1f\t%s\n", workload, count, seconds, count / seconds,
           used * 1e6 / count, usage.ru_maxrss / 1024.0, note);
}

// MARK: The file

static void script(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, 0, 0, 0) != SQLITE_OK) FAIL(db, sql);
}

static sqlite3 *open_file(void) {
    sqlite3 *db;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, 0)) FAIL(db, path);
    script(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096;"
               "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY");
    if (getenv("LIMIT_PRAGMA")) script(db, getenv("LIMIT_PRAGMA"));
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
    sqlite3_stmt *s;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, 0)) FAIL(db, sql);
    return s;
}

// An activity of the present transaction: read once, stored once.
typedef struct { int64_t number, group, expires, addressed, late; int has_group, has_expires, changed; int64_t counts[STATES]; unsigned char id[16]; } Activity;
#define ACTIVITIES 16

typedef struct {
    sqlite3 *db;
    int64_t revision;  // nobody else writes: the counter is read once
    sqlite3_stmt *begin, *begin_read, *commit, *device, *targets, *memberships, *group_work, *execution, *activity,
        *operation, *operation_by_id, *payload, *contact, *wake, *silence, *put_contact, *put_execution, *put_activity, *put_log,
        *put_meta, *put_operation, *put_payload, *put_target, *put_page, *revision_of, *group;
    Activity touched[ACTIVITIES];
    int touched_count;
    Bytes bytes;
} Store;

#define EXECUTION \
    "number, device_idx, state, version, attempt, until, redeliveries, retries, deferrals, started, confirmed, " \
    "updated, detail, late_answer, sum"
#define ACTIVITY \
    "number, group_idx, expires, state, closed, addressed, late, counts, live, gate, standing, rolling, control_key, " \
    "dependents, sum"
#define OPERATION \
    "number, id, activity, tenant, group_idx, group_name, code, type, priority, strictness, expires, lease, created, " \
    "initiator, request_key, request_digest, unknown, terms, sum"

static void open_store(Store *s) {
    memset(s, 0, sizeof *s);
    sqlite3 *db = s->db = open_file();
    s->begin = prepare(db, "BEGIN IMMEDIATE");
    s->begin_read = prepare(db, "BEGIN");
    s->commit = prepare(db, "COMMIT");
    s->device = prepare(db, "SELECT idx, tenant, id, incarnation, state, credential, polling, enrolled, removed, enrolment_key, current, sum FROM device WHERE tenant = ? AND id = ? AND current = 1");
    s->targets = prepare(db, "SELECT device_idx, number, sum FROM target WHERE device_idx = ? ORDER BY number");
    s->memberships = prepare(db, "SELECT group_idx, device_id, joined, ended, device_idx, sum FROM membership WHERE device_idx = ? ORDER BY group_idx, joined");
    s->group_work = prepare(db, "SELECT number FROM activity WHERE live = 1 AND standing = 0 AND group_idx = ?1 AND number >= ?2 AND number < ?3 UNION ALL SELECT number FROM activity WHERE live = 1 AND standing > 0 AND group_idx = ?1");
    s->execution = prepare(db, "SELECT " EXECUTION " FROM execution WHERE number = ? AND device_idx = ?");
    s->activity = prepare(db, "SELECT " ACTIVITY " FROM activity WHERE number = ?");
    s->operation = prepare(db, "SELECT " OPERATION " FROM operation WHERE number = ?");
    s->operation_by_id = prepare(db, "SELECT " OPERATION " FROM operation WHERE id = ?");
    s->payload = prepare(db, "SELECT number, bytes, sum FROM payload WHERE number = ?");
    s->contact = prepare(db, "SELECT device_idx, seen, answered, sum FROM contact WHERE device_idx = ?");
    s->wake = prepare(db, "SELECT device_idx, generation, number, due, attempts, failure, sum FROM wake WHERE device_idx = ?");
    s->silence = prepare(db, "SELECT device_idx, tenant, device_id, state, seen, sum FROM silence WHERE device_idx = ?");
    s->put_contact = prepare(db, "INSERT OR REPLACE INTO contact (device_idx, seen, answered, sum) VALUES (?, ?, ?, ?)");
    s->put_execution = prepare(db, "INSERT OR REPLACE INTO execution (" EXECUTION ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    s->put_activity = prepare(db, "INSERT OR REPLACE INTO activity (" ACTIVITY ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    s->put_log = prepare(db, "INSERT INTO revision_log (number, keys, sum) VALUES (?, ?, ?)");
    s->put_meta = prepare(db, "INSERT OR REPLACE INTO meta (name, number, bytes, sum) VALUES (?, ?, ?, ?)");
    s->put_operation = prepare(db, "INSERT INTO operation (" OPERATION ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    s->put_payload = prepare(db, "INSERT INTO payload (number, bytes, sum) VALUES (?, ?, ?)");
    s->put_target = prepare(db, "INSERT INTO target (device_idx, number, sum) VALUES (?, ?, ?)");
    s->put_page = prepare(db, "INSERT INTO target_page (number, page, first, devices, sum) VALUES (?, ?, ?, ?, ?)");
    s->revision_of = prepare(db, "SELECT name, number, bytes, sum FROM meta WHERE name = 'revision'");
    s->group = prepare(db, "SELECT idx, tenant, name, members, sum FROM device_group WHERE tenant = ? AND name = 'fleet'");
    if (next_row(s->revision_of)) { verify(s->revision_of, "meta", 3); s->revision = sqlite3_column_int64(s->revision_of, 1); }
    sqlite3_reset(s->revision_of);
}

static void close_store(Store *s) {
    for (sqlite3_stmt *at; (at = sqlite3_next_stmt(s->db, 0));) sqlite3_finalize(at);
    sqlite3_close(s->db);
}

static void load_devices(void) {
    sqlite3 *db = open_file();
    sqlite3_stmt *all = prepare(db, "SELECT idx, id, tenant FROM device WHERE current = 1 ORDER BY id");
    long room = 0;
    while (next_row(all)) {
        if (device_count == room) devices = realloc(devices, sizeof *devices * (room = room ? room * 2 : 1024));
        Device *d = &devices[device_count++];
        d->idx = sqlite3_column_int64(all, 0);
        d->length = snprintf(d->id, sizeof d->id, "%s", sqlite3_column_text(all, 1));
        tenant_length = snprintf(tenant, sizeof tenant, "%s", sqlite3_column_text(all, 2));
    }
    sqlite3_finalize(all);
    sqlite3_close(db);
}

// MARK: Rows

static int64_t find_device(Store *s, const Device *d) {
    sqlite3_bind_text(s->device, 1, tenant, tenant_length, SQLITE_STATIC);
    sqlite3_bind_text(s->device, 2, d->id, d->length, SQLITE_STATIC);
    if (!next_row(s->device)) FAIL(s->db, "device");
    verify(s->device, "device", 11);
    int64_t idx = sqlite3_column_int64(s->device, 4) == 1 ? sqlite3_column_int64(s->device, 0) : 0;
    sqlite3_reset(s->device);
    return idx;
}

// Live operations of a device, ascending within targets and groups. Returns how many.
static int live_work(Store *s, int64_t idx, int64_t *numbers, int room) {
    int count = 0;
    sqlite3_bind_int64(s->targets, 1, idx);
    while (next_row(s->targets)) {
        verify(s->targets, "target", 2);
        if (count < room) numbers[count++] = sqlite3_column_int64(s->targets, 1);
    }
    sqlite3_bind_int64(s->memberships, 1, idx);
    while (next_row(s->memberships)) {
        verify(s->memberships, "membership", 5);
        int is_open = sqlite3_column_type(s->memberships, 3) == SQLITE_NULL;
        sqlite3_bind_int64(s->group_work, 1, sqlite3_column_int64(s->memberships, 0));
        sqlite3_bind_int64(s->group_work, 2, sqlite3_column_int64(s->memberships, 2));
        sqlite3_bind_int64(s->group_work, 3, is_open ? INT64_MAX : sqlite3_column_int64(s->memberships, 3));
        while (next_row(s->group_work))
            if (count < room) numbers[count++] = sqlite3_column_int64(s->group_work, 0);
    }
    return count;
}

static Activity *touch(Store *s, int64_t number) {
    for (int i = 0; i < s->touched_count; i++)
        if (s->touched[i].number == number) return &s->touched[i];
    if (s->touched_count == ACTIVITIES) FAIL(s->db, "too many activities in one transaction");
    Activity *a = &s->touched[s->touched_count++];
    memset(a, 0, sizeof *a);
    sqlite3_bind_int64(s->activity, 1, number);
    if (!next_row(s->activity)) FAIL(s->db, "activity");
    verify(s->activity, "activity", 14);
    a->number = number;
    a->has_group = sqlite3_column_type(s->activity, 1) != SQLITE_NULL;
    a->group = sqlite3_column_int64(s->activity, 1);
    a->has_expires = sqlite3_column_type(s->activity, 2) != SQLITE_NULL;
    a->expires = sqlite3_column_int64(s->activity, 2);
    a->addressed = sqlite3_column_int64(s->activity, 5);
    a->late = sqlite3_column_int64(s->activity, 6);
    const unsigned char *at = sqlite3_column_blob(s->activity, 7);
    at += 2;  // version and count
    for (int i = 0; i < STATES; i++)
        for (int shift = 0;; shift += 7, at++) {
            a->counts[i] |= (int64_t)(*at & 0x7F) << shift;
            if (*at < 0x80) { at++; break; }
        }
    sqlite3_reset(s->activity);
    return a;
}

static void store_activity(Store *s, const Activity *a, int state, int64_t closed, int live) {
    s->bytes.count = 0;
    put_byte(&s->bytes, 1);
    put_count(&s->bytes, STATES);
    for (int i = 0; i < STATES; i++) put_count(&s->bytes, a->counts[i]);
    static uint64_t table;
    if (!table) table = sum_table("activity");
    Row r = row_of(s->put_activity, table);
    row_int(&r, a->number);
    if (a->has_group) row_int(&r, a->group); else row_null(&r);
    if (a->has_expires) row_int(&r, a->expires); else row_null(&r);
    row_int(&r, state);
    if (closed) row_int(&r, closed); else row_null(&r);
    row_int(&r, a->addressed);
    row_int(&r, a->late);
    row_blob(&r, s->bytes.at, s->bytes.count);
    row_int(&r, live);
    row_blob(&r, 0, 0);  // handed out to everybody
    row_int(&r, 0);
    row_int(&r, 0);
    row_null(&r);
    row_int(&r, 0);
    row_store(&r);
}

static void store_meta(Store *s, const char *name, int64_t number) {
    Row r = row_of(s->put_meta, sum_table("meta"));
    row_text(&r, name, strlen(name));
    row_int(&r, number);
    row_null(&r);
    row_store(&r);
}

static void store_log(Store *s) {
    static uint64_t table;
    if (!table) table = sum_table("revision_log");
    Row r = row_of(s->put_log, table);
    row_int(&r, ++s->revision);
    row_blob(&r, s->bytes.at, s->bytes.count);
    row_store(&r);
}

static void log_activity(Store *s, int64_t number) {
    s->bytes.count = 0;
    put_byte(&s->bytes, 1);
    put_count(&s->bytes, 1);
    put_byte(&s->bytes, 3);
    put_text(&s->bytes, tenant, tenant_length);
    put_int(&s->bytes, number);
    store_log(s);
}

static void log_execution(Store *s, int64_t number, const Device *d) {
    s->bytes.count = 0;
    put_byte(&s->bytes, 1);
    put_count(&s->bytes, 1);
    put_byte(&s->bytes, 4);
    put_text(&s->bytes, tenant, tenant_length);
    put_int(&s->bytes, number);
    put_text(&s->bytes, d->id, d->length);
    store_log(s);
}

static void note_contact(Store *s, int64_t idx, int64_t now) {
    int64_t seen = now, answered = s->revision;
    sqlite3_bind_int64(s->contact, 1, idx);
    if (next_row(s->contact)) {
        verify(s->contact, "contact", 3);
        if (sqlite3_column_int64(s->contact, 1) > seen) seen = sqlite3_column_int64(s->contact, 1);
        if (sqlite3_column_int64(s->contact, 2) > answered) answered = sqlite3_column_int64(s->contact, 2);
        sqlite3_reset(s->contact);
    }
    sqlite3_bind_int64(s->wake, 1, idx);
    if (next_row(s->wake)) FAIL(s->db, "nobody is to be woken here");
    static uint64_t table;
    if (!table) table = sum_table("contact");
    Row r = row_of(s->put_contact, table);
    row_int(&r, idx);
    row_int(&r, seen);
    row_int(&r, answered);
    row_store(&r);
    sqlite3_bind_int64(s->silence, 1, idx);
    if (next_row(s->silence)) FAIL(s->db, "nobody is silent here");
}

typedef struct { int64_t number, device, started, updated, until; int state, version; const unsigned char *attempt; const char *detail; int detail_length; } Execution;

static void store_execution(Store *s, const Execution *e) {
    static uint64_t table;
    if (!table) table = sum_table("execution");
    Row r = row_of(s->put_execution, table);
    row_int(&r, e->number);
    row_int(&r, e->device);
    row_int(&r, e->state);
    row_int(&r, e->version);
    if (e->attempt) row_blob(&r, e->attempt, 16); else row_null(&r);
    if (e->until) row_int(&r, e->until); else row_null(&r);
    for (int i = 0; i < 3; i++) row_int(&r, 0);
    row_int(&r, e->started);
    row_null(&r);
    row_int(&r, e->updated);
    row_blob(&r, e->detail, e->detail_length);
    row_null(&r);
    row_store(&r);
}

// MARK: A device's two calls

typedef struct Call { int is_report, done; const Device *device; unsigned char operation[16], attempt[16]; struct Call *next; pthread_cond_t wake; } Call;
static volatile long sink;

// Hands the device its one open operation.
static void fetch(Store *s, Call *call) {
    int64_t numbers[ACTIVITIES], now = milliseconds(), idx = find_device(s, call->device);
    int found = 0, count = live_work(s, idx, numbers, ACTIVITIES);
    for (int i = 0; i < count; i++) {
        sqlite3_bind_int64(s->execution, 1, numbers[i]);
        sqlite3_bind_int64(s->execution, 2, idx);
        if (next_row(s->execution)) {
            verify(s->execution, "execution", 14);
            int state = sqlite3_column_int64(s->execution, 2);
            sqlite3_reset(s->execution);
            if (state == COMPLETED) continue;
            FAIL(s->db, "work in hand");
        }
        Activity *a = touch(s, numbers[i]);
        sqlite3_bind_int64(s->operation, 1, numbers[i]);
        if (!next_row(s->operation)) FAIL(s->db, "operation");
        verify(s->operation, "operation", 18);
        int64_t lease = sqlite3_column_int64(s->operation, 11);
        memcpy(call->operation, sqlite3_column_blob(s->operation, 1), 16);
        memcpy(a->id, call->operation, 16);
        sqlite3_reset(s->operation);
        sqlite3_bind_int64(s->payload, 1, numbers[i]);
        if (!next_row(s->payload)) FAIL(s->db, "payload");
        verify(s->payload, "payload", 2);
        sink += sqlite3_column_bytes(s->payload, 1);
        sqlite3_reset(s->payload);
        if (getrandom(call->attempt, 16, 0) != 16) FAIL(s->db, "getrandom");
        store_execution(s, &(Execution){.number = numbers[i], .device = idx, .started = now, .updated = now, .until = now + lease,
            .state = DELIVERED, .version = 1, .attempt = call->attempt, .detail = ""});
        a->counts[DELIVERED]++;
        a->changed = 1;
        found++;
        log_execution(s, numbers[i], call->device);
    }
    if (found != 1) FAIL(s->db, "expected one operation");
    note_contact(s, idx, now);
}

// Takes its result and finds that nothing else is open.
static void complete(Store *s, Call *call) {
    int64_t numbers[ACTIVITIES], now = milliseconds(), idx = find_device(s, call->device), number = 0;
    for (int i = 0; i < s->touched_count && !number; i++)
        if (!memcmp(s->touched[i].id, call->operation, 16)) number = s->touched[i].number;
    if (!number) {
        sqlite3_bind_blob(s->operation_by_id, 1, call->operation, 16, SQLITE_STATIC);
        if (!next_row(s->operation_by_id)) FAIL(s->db, "operation");
        verify(s->operation_by_id, "operation", 18);
        number = sqlite3_column_int64(s->operation_by_id, 0);
        sqlite3_reset(s->operation_by_id);
    }
    Activity *a = touch(s, number);
    memcpy(a->id, call->operation, 16);
    sqlite3_bind_int64(s->execution, 1, number);
    sqlite3_bind_int64(s->execution, 2, idx);
    if (!next_row(s->execution)) FAIL(s->db, "execution");
    verify(s->execution, "execution", 14);
    int version = sqlite3_column_int64(s->execution, 3), state = sqlite3_column_int64(s->execution, 2);
    int64_t started = sqlite3_column_int64(s->execution, 9);
    sqlite3_reset(s->execution);
    if (state != DELIVERED) FAIL(s->db, "state");
    store_execution(s, &(Execution){.number = number, .device = idx, .started = started, .updated = now, .state = COMPLETED,
        .version = version + 1, .attempt = call->attempt, .detail = DETAIL, .detail_length = sizeof DETAIL - 1});
    a->counts[DELIVERED]--;
    a->counts[COMPLETED]++;
    a->changed = 1;
    if (a->counts[COMPLETED] == a->addressed) FAIL(s->db, "name more devices than n: the end of an activity is left out");
    log_execution(s, number, call->device);
    note_contact(s, idx, now);
    int count = live_work(s, idx, numbers, ACTIVITIES);
    for (int i = 0; i < count; i++) {
        if (numbers[i] == number) continue;
        sqlite3_bind_int64(s->execution, 1, numbers[i]);
        sqlite3_bind_int64(s->execution, 2, idx);
        if (!next_row(s->execution)) FAIL(s->db, "more is open");
        verify(s->execution, "execution", 14);
        sqlite3_reset(s->execution);
    }
}

static long commits;

static void begin(Store *s) { run(s->begin); s->touched_count = 0; }

// What several calls share is stored once: activities and the revision counter.
static void commit(Store *s) {
    for (int i = 0; i < s->touched_count; i++)
        if (s->touched[i].changed) store_activity(s, &s->touched[i], 0, 0, 1);
    store_meta(s, "revision", s->revision);
    run(s->commit);
    commits++;
}

static void serve(Store *s, Call *call) { if (call->is_report) complete(s, call); else fetch(s, call); }

// MARK: W2, with group commit for several clients

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static Call *head, **tail = &head;
static int is_over;
static long clients = 1, total;

static void *writer(void *store) {
    Store *s = store;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!head && !is_over) pthread_cond_wait(&work, &lock);
        Call *batch = head;
        head = 0;
        tail = &head;
        pthread_mutex_unlock(&lock);
        if (!batch) return 0;
        begin(s);
        for (Call *call = batch; call; call = call->next) serve(s, call);
        commit(s);
        pthread_mutex_lock(&lock);
        for (Call *call = batch, *next; call; call = next) {
            next = call->next;
            call->done = 1;
            pthread_cond_signal(&call->wake);
        }
        pthread_mutex_unlock(&lock);
    }
}

static void submit(Call *call) {
    pthread_mutex_lock(&lock);
    call->done = 0;
    call->next = 0;
    *tail = call;
    tail = &call->next;
    pthread_cond_signal(&work);
    while (!call->done) pthread_cond_wait(&call->wake, &lock);
    pthread_mutex_unlock(&lock);
}

static void *client(void *number) {
    Call call = {0};
    pthread_cond_init(&call.wake, 0);
    for (long i = (long)number; i < total; i += clients) {
        call.device = &devices[scattered(i, device_count)];
        for (call.is_report = 0; call.is_report < 2; call.is_report++) submit(&call);
    }
    return 0;
}

static void exchange(Store *s, long n) {
    char name[40], note[80];
    snprintf(name, sizeof name, "W2 c=%ld", clients);
    total = n < device_count ? n : device_count;
    double began = wall(), used = cpu();
    if (clients == 1) {
        Call call = {0};
        for (long i = 0; i < total; i++) {
            call.device = &devices[scattered(i, device_count)];
            for (call.is_report = 0; call.is_report < 2; call.is_report++) {
                begin(s);
                serve(s, &call);
                commit(s);
            }
        }
    } else {
        pthread_t writing, *threads = malloc(sizeof *threads * clients);
        pthread_create(&writing, 0, writer, s);
        for (long k = 0; k < clients; k++) pthread_create(&threads[k], 0, client, (void *)k);
        for (long k = 0; k < clients; k++) pthread_join(threads[k], 0);
        pthread_mutex_lock(&lock);
        is_over = 1;
        pthread_cond_signal(&work);
        pthread_mutex_unlock(&lock);
        pthread_join(writing, 0);
    }
    snprintf(note, sizeof note, "%ld commits", commits);
    report(name, total, wall() - began, cpu() - used, note);
}

// MARK: W1 and W3

static void store_operation(Store *s, int64_t number, int64_t group, const void *digest) {
    unsigned char ids[32];
    if (getrandom(ids, 32, 0) != 32) FAIL(s->db, "getrandom");
    Row r = row_of(s->put_operation, sum_table("operation"));
    row_int(&r, number);
    row_blob(&r, ids, 16);
    row_blob(&r, ids + 16, 16);
    row_text(&r, tenant, tenant_length);
    if (group) row_int(&r, group); else row_null(&r);
    if (group) row_text(&r, "fleet", 5); else row_null(&r);
    row_text(&r, "INSTALL", 7);
    row_text(&r, "command", 7);
    row_int(&r, 0);
    row_int(&r, 0);
    row_null(&r);
    row_int(&r, 60000);
    row_int(&r, milliseconds());
    row_text(&r, "", 0);
    row_null(&r);
    row_blob(&r, digest, 16);
    row_int(&r, 0);
    row_blob(&r, 0, 0);  // standard terms
    row_store(&r);
    r = row_of(s->put_payload, sum_table("payload"));
    row_int(&r, number);
    row_blob(&r, payload, PAYLOAD_BYTES);
    row_store(&r);
}

// FNV-1a of 128 bits: what an idempotency key is compared with.
static void digest_of(const Bytes *b, unsigned char *out) {
    unsigned __int128 hash = (unsigned __int128)0x6c62272e07bb0142ull << 64 | 0x62b821756295c58dull;
    for (size_t i = 0; i < b->count; i++) {
        hash ^= b->at[i];
        hash = (hash << 88) + hash * 0x13B;
    }
    for (int i = 15; i >= 0; i--, hash >>= 8) out[i] = (unsigned char)hash;
}

static int by_id(const void *left, const void *right) {
    return strcmp((*(const Device *const *)left)->id, (*(const Device *const *)right)->id);
}

static void enqueue_named(Store *s, long n) {
    double began = wall(), used = cpu();
    for (long round = 0; round < n; round++) {
        unsigned char digest[16];
        const Device **named = malloc(sizeof *named * device_count);
        for (long i = 0; i < device_count; i++) named[i] = &devices[i];
        qsort(named, device_count, sizeof *named, by_id);
        s->bytes.count = 0;
        for (long i = 0; i < device_count; i++) put_text(&s->bytes, named[i]->id, named[i]->length);
        put(&s->bytes, payload, PAYLOAD_BYTES);
        digest_of(&s->bytes, digest);
        begin(s);
        int64_t *found = malloc(sizeof *found * device_count), number = s->revision + 1;
        for (long i = 0; i < device_count; i++) found[i] = find_device(s, named[i]);
        store_operation(s, number, 0, digest);
        Activity a = {.number = number, .addressed = device_count};
        store_activity(s, &a, 0, 0, 1);
        uint64_t target = sum_table("target"), page = sum_table("target_page");
        for (long i = 0; i < device_count; i++) {
            Row r = row_of(s->put_target, target);
            row_int(&r, found[i]);
            row_int(&r, number);
            row_store(&r);
        }
        for (long i = 0; i < device_count; i += 200) {
            long end = i + 200 < device_count ? i + 200 : device_count;
            s->bytes.count = 0;
            put_byte(&s->bytes, 1);
            put_count(&s->bytes, end - i);
            for (long k = i; k < end; k++) put_int(&s->bytes, found[k]);
            Row r = row_of(s->put_page, page);
            row_int(&r, number);
            row_int(&r, i / 200);
            row_text(&r, named[i]->id, named[i]->length);
            row_blob(&r, s->bytes.at, s->bytes.count);
            row_store(&r);
        }
        log_activity(s, number);
        commit(s);
        free(found);
        free(named);
    }
    report("W1 named", device_count * n, wall() - began, cpu() - used, "");
}

static int64_t find_group(Store *s, int64_t *members) {
    sqlite3_bind_text(s->group, 1, tenant, tenant_length, SQLITE_STATIC);
    if (!next_row(s->group)) FAIL(s->db, "group");
    verify(s->group, "device_group", 4);
    int64_t idx = sqlite3_column_int64(s->group, 0);
    *members = sqlite3_column_int64(s->group, 3);
    sqlite3_reset(s->group);
    return idx;
}

static int ascending(const void *left, const void *right) {
    double l = *(const double *)left, r = *(const double *)right;
    return l < r ? -1 : l > r;
}

// One operation for the group, or, as the measure of it, one row: n durable commits.
static void group_or_row(Store *s, long n, int is_group) {
    double *times = malloc(sizeof *times * (n + 1)), began = 0, used = 0;
    char note[80];
    for (long i = 0; i <= n; i++) {
        if (i == 1) { began = wall(); used = cpu(); }  // the first one opens the log file
        double from = wall();
        begin(s);
        if (is_group) {
            unsigned char digest[16];
            s->bytes.count = 0;
            put_text(&s->bytes, "fleet", 5);
            put(&s->bytes, payload, PAYLOAD_BYTES);
            digest_of(&s->bytes, digest);
            int64_t number = s->revision + 1;
            Activity a = {.number = number, .has_group = 1};
            a.group = find_group(s, &a.addressed);
            store_operation(s, number, a.group, digest);
            store_activity(s, &a, 0, 0, 1);
            log_activity(s, number);
            commit(s);
        } else {
            Row r = row_of(s->put_contact, sum_table("contact"));
            row_int(&r, devices[scattered(i, device_count)].idx);
            row_int(&r, milliseconds());
            row_int(&r, s->revision);
            row_store(&r);
            run(s->commit);
        }
        if (i) times[i - 1] = wall() - from;
    }
    double seconds = wall() - began, spent = cpu() - used;
    qsort(times, n, sizeof *times, ascending);
    snprintf(note, sizeof note, "median %.0f us each", times[n / 2] * 1e6);
    report(is_group ? "W3 group" : "W3 one row", n, seconds, spent, note);
    free(times);
}

// MARK: W4

// Polls, and, if `contacts`, what the library does beside: it remembers who was heard and stores a
// thousand of them in one commit.
static void poll(Store *s, long n, int contacts) {
    double began = wall(), used = cpu();
    int64_t heard[1000];
    int heard_count = 0;
    for (long i = 0; i < n; i++) {
        int64_t numbers[1];
        run(s->begin_read);
        int64_t idx = find_device(s, &devices[scattered(i, device_count)]);
        if (next_row(s->revision_of)) verify(s->revision_of, "meta", 3);
        sink += sqlite3_column_int64(s->revision_of, 1);
        sqlite3_reset(s->revision_of);
        if (live_work(s, idx, numbers, 1)) FAIL(s->db, "nothing is to be open");
        run(s->commit);
        if (!contacts) continue;
        heard[heard_count++] = idx;
        if (heard_count < 1000) continue;
        run(s->begin);
        for (int k = 0; k < 1000; k++) note_contact(s, heard[k], milliseconds());
        run(s->commit);
        heard_count = 0;
    }
    report(contacts ? "W4 exchange" : "W4 open work", n, wall() - began, cpu() - used, "");
}

// MARK: History: finished operations to the whole group

static void fill(Store *s, long ops) {
    double began = wall(), used = cpu();
    unsigned char digest[16] = {0}, attempt[16];
    Device *by_idx = malloc(sizeof *by_idx * device_count);
    memcpy(by_idx, devices, sizeof *by_idx * device_count);
    int order_by_idx(const void *l, const void *r) {
        int64_t left = ((const Device *)l)->idx, right = ((const Device *)r)->idx;
        return left < right ? -1 : left > right;
    }
    qsort(by_idx, device_count, sizeof *by_idx, order_by_idx);
    for (long round = 0; round < ops; round++) {
        int64_t number = s->revision + 1, now = milliseconds();
        begin(s);
        Activity a = {.number = number, .has_group = 1};
        a.group = find_group(s, &a.addressed);
        a.addressed = device_count;
        a.counts[COMPLETED] = device_count;
        store_operation(s, number, a.group, digest);
        store_activity(s, &a, 1, now, 0);
        for (long i = 0; i < device_count; i++) {
            if (i % 256 == 0 && getrandom(attempt, 16, 0) != 16) FAIL(s->db, "getrandom");
            attempt[0] = i;
            store_execution(s, &(Execution){.number = number, .device = by_idx[i].idx, .started = now, .updated = now, .state = COMPLETED,
                .version = 2, .attempt = attempt, .detail = DETAIL, .detail_length = sizeof DETAIL - 1});
        }
        log_activity(s, number);
        commit(s);
    }
    report("fill", device_count * ops, wall() - began, cpu() - used, "");
}

int main(int count, char **words) {
    long n = 0, ops = 10;
    if (count < 3) { fprintf(stderr, "limit FILE w1|w2|w3|row|w4|poll|fill [n=N] [clients=K] [ops=H]\n"); return 2; }
    path = words[1];
    for (int i = 3; i < count; i++) {
        if (!strncmp(words[i], "n=", 2)) n = atol(words[i] + 2);
        else if (!strncmp(words[i], "clients=", 8)) clients = atol(words[i] + 8);
        else if (!strncmp(words[i], "ops=", 4)) ops = atol(words[i] + 4);
        else { fprintf(stderr, "%s?\n", words[i]); return 2; }
    }
    memset(payload, 'p', sizeof payload);
    load_devices();
    Store s;
    open_store(&s);
    const char *w = words[2];
    if (!strcmp(w, "w1")) enqueue_named(&s, n ? n : 1);
    else if (!strcmp(w, "w2")) exchange(&s, n ? n : 1000);
    else if (!strcmp(w, "w3")) group_or_row(&s, n ? n : 200, 1);
    else if (!strcmp(w, "row")) group_or_row(&s, n ? n : 200, 0);
    else if (!strcmp(w, "w4")) poll(&s, n ? n : 100000, 1);
    else if (!strcmp(w, "poll")) poll(&s, n ? n : 100000, 0);
    else if (!strcmp(w, "fill")) fill(&s, ops);
    else return 2;
    close_store(&s);
    return 0;
}
