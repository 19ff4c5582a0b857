#ifndef REEVE_SYSTEM_H
#define REEVE_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

// System calls that Swift cannot see: variadic ones, and those behind _GNU_SOURCE.
//
// Every function that can fail returns a value of at least 0 on success and -errno on failure;
// none of them touches errno for the caller to read. All retry when a signal interrupts them.

enum {
    REEVE_KIND_OTHER = 0,
    REEVE_KIND_FILE = 1,
    REEVE_KIND_DIRECTORY = 2,
    REEVE_KIND_LINK = 3,
    REEVE_KIND_DEVICE = 4,
    REEVE_KIND_SOCKET = 5,
    REEVE_KIND_PIPE = 6
};

struct reeve_status {
    int64_t size;
    uint64_t device;
    uint64_t inode;
    uint64_t links;
    int64_t modified; // nanoseconds since 1970: content
    int64_t changed;  // the same: content, mode, owner, names
    uint32_t mode; // permission bits with set-uid, set-gid and sticky
    uint32_t kind; // REEVE_KIND_…
};

// The error numbers that Swift code tells apart.
extern const int reeve_error_not_found;
extern const int reeve_error_exists;
extern const int reeve_error_too_many_links;
extern const int reeve_error_cross_device;
extern const int reeve_error_would_block;
extern const int reeve_error_not_empty;
extern const int reeve_error_not_directory;

// "current directory" for the *at functions.
extern const int reeve_current_directory;

// Opening. The last component is never followed when it is a symbolic link.
int reeve_open_read(int directory, const char *path);
int reeve_open_directory(int directory, const char *path);
// A caller's own directory: links in the path are followed.
int reeve_open_root(const char *path);
// A new file; fails when something of that name is there.
int reeve_create_file(int directory, const char *path, uint32_t mode);
int reeve_open_lock(int directory, const char *path);

// Opens a directory beneath `directory` without following any symbolic link on the way:
// openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), or, where the kernel lacks it, one openat with
// O_NOFOLLOW for each component.
int reeve_open_directory_beneath(int directory, const char *path);

int reeve_close(int file);
int64_t reeve_read(int file, void *buffer, size_t count);
int64_t reeve_read_at(int file, void *buffer, size_t count, int64_t offset);
// Writes everything or fails.
int reeve_write_all(int file, const void *buffer, size_t count);
// Tells the kernel that the file will be read from its beginning to its end.
void reeve_expect_sequential(int file);

int reeve_status_of(int file, struct reeve_status *status);
int reeve_status_at(int directory, const char *path, struct reeve_status *status);

// The same with the time of the last change of its content, in nanoseconds since 1970.
int reeve_stamp_at(int directory, const char *path, struct reeve_status *status, int64_t *modified);

int reeve_make_directory(int directory, const char *path, uint32_t mode);
int reeve_make_link(const char *target, int directory, const char *path);
// The target's length; truncation is reported as -ERANGE.
int64_t reeve_read_link(int directory, const char *path, char *buffer, size_t count);
// A hard link.
int reeve_link(int from_directory, const char *from, int to_directory, const char *to);
int reeve_change_mode(int file, uint32_t mode);
// Sets the time of the last change of a file's content, in seconds since 1970.
int reeve_change_time(int file, int64_t seconds);
// Sets both times of a file to now. A link is not followed.
int reeve_touch(int directory, const char *path);
int reeve_remove_file(int directory, const char *path);
int reeve_remove_directory(int directory, const char *path);

int reeve_rename(int from_directory, const char *from, int to_directory, const char *to);
// renameat2(RENAME_NOREPLACE): fails with EEXIST when `to` exists. On file systems without it the
// look and the rename are two steps.
int reeve_rename_new(int from_directory, const char *from, int to_directory, const char *to);
// renameat2(RENAME_EXCHANGE): swaps the two names in one step. EINVAL on file systems without it.
int reeve_rename_exchange(int from_directory, const char *from, int to_directory, const char *to);

// fsync, and syncfs: everything written to the file system that `file` lies on.
int reeve_sync_file(int file);
int reeve_sync_file_system(int file);

// Reading a directory. The stream owns `directory` and closes it.
void *reeve_directory_stream(int directory);
// 1 and a name, 0 at the end, -errno. "." and ".." are left out. The name is valid until the next
// call.
int reeve_directory_next(void *stream, const char **name);
void reeve_directory_close(void *stream);

// flock(LOCK_EX | LOCK_NB) and its release. -EWOULDBLOCK when another process holds it.
int reeve_lock_exclusive(int file);
int reeve_unlock(int file);
// Replaces the file's content, which names the holder of a lock.
int reeve_replace_content(int file, const void *buffer, size_t count);

// The highest resident memory of this process so far, in bytes.
int64_t reeve_peak_resident_bytes(void);
int32_t reeve_process_id(void);

// memcmp, and how many bytes two buffers share at their beginning or their end.
int reeve_compare(const void *left, const void *right, size_t count);
size_t reeve_common_prefix(const void *left, const void *right, size_t count);
size_t reeve_common_suffix(const void *left_end, const void *right_end, size_t count);

// A description of an error number (positive), in a buffer of the caller.
void reeve_describe_error(int number, char *buffer, size_t count);

#endif
