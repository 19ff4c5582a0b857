#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "CReeveSystem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#define RETRY(type, call)                                                                          \
    do {                                                                                           \
        type result_;                                                                              \
        do {                                                                                       \
            result_ = (call);                                                                      \
        } while (result_ < 0 && errno == EINTR);                                                   \
        return result_ < 0 ? (type)-errno : result_;                                               \
    } while (0)

const int reeve_error_not_found = ENOENT;
const int reeve_error_exists = EEXIST;
const int reeve_error_too_many_links = EMLINK;
const int reeve_error_cross_device = EXDEV;
const int reeve_error_would_block = EWOULDBLOCK;
const int reeve_error_not_empty = ENOTEMPTY;
const int reeve_error_not_directory = ENOTDIR;
const int reeve_current_directory = AT_FDCWD;

int reeve_open_read(int directory, const char *path) {
    // O_NONBLOCK: a pipe that took the place of a file must not hang the reader.
    RETRY(int, openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
}

int reeve_open_directory(int directory, const char *path) {
    RETRY(int, openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_DIRECTORY));
}

int reeve_open_root(const char *path) {
    RETRY(int, open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY));
}

int reeve_create_file(int directory, const char *path, uint32_t mode) {
    RETRY(int, openat(directory, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                      (mode_t)mode));
}

int reeve_open_lock(int directory, const char *path) {
    RETRY(int, openat(directory, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, (mode_t)0644));
}

// The walk that stands in for openat2 on older kernels and under old seccomp filters.
static int open_directory_by_steps(int directory, const char *path) {
    int current = openat(directory, ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (current < 0) return -errno;
    char name[NAME_MAX + 1];
    while (*path != '\0') {
        const char *slash = strchr(path, '/');
        size_t length = slash ? (size_t)(slash - path) : strlen(path);
        if (length == 0 || length > NAME_MAX) {
            close(current);
            return -EINVAL;
        }
        memcpy(name, path, length);
        name[length] = '\0';
        if (strcmp(name, "..") == 0) {
            close(current);
            return -EXDEV;
        }
        int next = openat(current, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_DIRECTORY);
        int error = errno;
        close(current);
        if (next < 0) return -error;
        current = next;
        path += length + (slash ? 1 : 0);
    }
    return current;
}

#if defined(__linux__) && defined(SYS_openat2)
// The kernel's struct open_how (openat2(2)), declared here because older headers lack it.
struct reeve_open_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
#define REEVE_RESOLVE_NO_SYMLINKS 0x04
#define REEVE_RESOLVE_BENEATH 0x08
#endif

int reeve_open_directory_beneath(int directory, const char *path) {
#if defined(__linux__) && defined(SYS_openat2)
    struct reeve_open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_DIRECTORY,
        .mode = 0,
        .resolve = REEVE_RESOLVE_NO_SYMLINKS | REEVE_RESOLVE_BENEATH,
    };
    const char *target = *path == '\0' ? "." : path;
    for (int attempt = 0; attempt < 64; attempt++) {
        long file = syscall(SYS_openat2, directory, target, &how, sizeof how);
        if (file >= 0) return (int)file;
        // EAGAIN: a rename elsewhere made the kernel unsure; it asks to try again.
        if (errno == EINTR || errno == EAGAIN) continue;
        if (errno == ENOSYS || errno == EPERM || errno == EINVAL) break;
        return -errno;
    }
#endif
    return open_directory_by_steps(directory, path);
}

int reeve_close(int file) {
    // Never retried: the descriptor is gone whatever close says.
    return close(file) < 0 && errno != EINTR ? -errno : 0;
}

int64_t reeve_read(int file, void *buffer, size_t count) {
    RETRY(int64_t, read(file, buffer, count));
}

int64_t reeve_read_at(int file, void *buffer, size_t count, int64_t offset) {
    RETRY(int64_t, pread(file, buffer, count, (off_t)offset));
}

int reeve_write_all(int file, const void *buffer, size_t count) {
    const char *bytes = buffer;
    while (count > 0) {
        ssize_t written = write(file, bytes, count);
        if (written < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        bytes += written;
        count -= (size_t)written;
    }
    return 0;
}

void reeve_expect_sequential(int file) {
#if defined(__linux__)
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
#else
    (void)file;
#endif
}

static void fill(const struct stat *from, struct reeve_status *to) {
    to->size = (int64_t)from->st_size;
    to->device = (uint64_t)from->st_dev;
    to->inode = (uint64_t)from->st_ino;
    to->links = (uint64_t)from->st_nlink;
#if defined(__APPLE__)
    to->modified = (int64_t)from->st_mtimespec.tv_sec * 1000000000 + from->st_mtimespec.tv_nsec;
    to->changed = (int64_t)from->st_ctimespec.tv_sec * 1000000000 + from->st_ctimespec.tv_nsec;
#else
    to->modified = (int64_t)from->st_mtim.tv_sec * 1000000000 + from->st_mtim.tv_nsec;
    to->changed = (int64_t)from->st_ctim.tv_sec * 1000000000 + from->st_ctim.tv_nsec;
#endif
    to->mode = (uint32_t)from->st_mode & 07777;
    if (S_ISREG(from->st_mode)) {
        to->kind = REEVE_KIND_FILE;
    } else if (S_ISDIR(from->st_mode)) {
        to->kind = REEVE_KIND_DIRECTORY;
    } else if (S_ISLNK(from->st_mode)) {
        to->kind = REEVE_KIND_LINK;
    } else if (S_ISCHR(from->st_mode) || S_ISBLK(from->st_mode)) {
        to->kind = REEVE_KIND_DEVICE;
    } else if (S_ISSOCK(from->st_mode)) {
        to->kind = REEVE_KIND_SOCKET;
    } else if (S_ISFIFO(from->st_mode)) {
        to->kind = REEVE_KIND_PIPE;
    } else {
        to->kind = REEVE_KIND_OTHER;
    }
}

int reeve_status_of(int file, struct reeve_status *status) {
    struct stat info;
    if (fstat(file, &info) < 0) return -errno;
    fill(&info, status);
    return 0;
}

int reeve_status_at(int directory, const char *path, struct reeve_status *status) {
    struct stat info;
    if (fstatat(directory, path, &info, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    fill(&info, status);
    return 0;
}

int reeve_stamp_at(int directory, const char *path, struct reeve_status *status, int64_t *modified) {
    struct stat info;
    if (fstatat(directory, path, &info, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    fill(&info, status);
#ifdef __APPLE__
    struct timespec time = info.st_mtimespec;
#else
    struct timespec time = info.st_mtim;
#endif
    *modified = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
    return 0;
}

int reeve_make_directory(int directory, const char *path, uint32_t mode) {
    RETRY(int, mkdirat(directory, path, (mode_t)mode));
}

int reeve_make_link(const char *target, int directory, const char *path) {
    RETRY(int, symlinkat(target, directory, path));
}

int64_t reeve_read_link(int directory, const char *path, char *buffer, size_t count) {
    ssize_t length = readlinkat(directory, path, buffer, count);
    if (length < 0) return -errno;
    return (size_t)length == count ? -ERANGE : (int64_t)length;
}

int reeve_link(int from_directory, const char *from, int to_directory, const char *to) {
    RETRY(int, linkat(from_directory, from, to_directory, to, 0));
}

int reeve_change_mode(int file, uint32_t mode) { RETRY(int, fchmod(file, (mode_t)mode)); }

int reeve_change_time(int file, int64_t seconds) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)seconds}};
    RETRY(int, futimens(file, times));
}

int reeve_touch(int directory, const char *path) {
    RETRY(int, utimensat(directory, path, NULL, AT_SYMLINK_NOFOLLOW));
}

int reeve_remove_file(int directory, const char *path) {
    RETRY(int, unlinkat(directory, path, 0));
}

int reeve_remove_directory(int directory, const char *path) {
    RETRY(int, unlinkat(directory, path, AT_REMOVEDIR));
}

int reeve_rename(int from_directory, const char *from, int to_directory, const char *to) {
    RETRY(int, renameat(from_directory, from, to_directory, to));
}

#if defined(__linux__)
#define REEVE_RENAME_NOREPLACE 1
#define REEVE_RENAME_EXCHANGE 2
static int rename_with_flags(int from_directory, const char *from, int to_directory, const char *to,
                             unsigned flags) {
    RETRY(int, (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags));
}
#endif

int reeve_rename_new(int from_directory, const char *from, int to_directory, const char *to) {
#if defined(__linux__)
    int result =
        rename_with_flags(from_directory, from, to_directory, to, REEVE_RENAME_NOREPLACE);
    if (result != -EINVAL && result != -ENOSYS) return result;
    // A file system without the flag: look first. Callers have the directory to themselves.
    struct stat info;
    if (fstatat(to_directory, to, &info, AT_SYMLINK_NOFOLLOW) == 0) return -EEXIST;
    return reeve_rename(from_directory, from, to_directory, to);
#elif defined(__APPLE__)
    RETRY(int, renameatx_np(from_directory, from, to_directory, to, RENAME_EXCL));
#else
    return -ENOSYS;
#endif
}

int reeve_rename_exchange(int from_directory, const char *from, int to_directory, const char *to) {
#if defined(__linux__)
    return rename_with_flags(from_directory, from, to_directory, to, REEVE_RENAME_EXCHANGE);
#elif defined(__APPLE__)
    RETRY(int, renameatx_np(from_directory, from, to_directory, to, RENAME_SWAP));
#else
    return -ENOSYS;
#endif
}

int reeve_sync_file(int file) {
#if defined(__APPLE__)
    RETRY(int, fcntl(file, F_FULLFSYNC));
#else
    RETRY(int, fsync(file));
#endif
}

int reeve_sync_file_system(int file) {
#if defined(__linux__)
    RETRY(int, syncfs(file));
#else
    (void)file;
    sync();
    return 0;
#endif
}

void *reeve_directory_stream(int directory) { return fdopendir(directory); }

int reeve_directory_next(void *stream, const char **name) {
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry) return -errno;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        *name = entry->d_name;
        return 1;
    }
}

void reeve_directory_close(void *stream) { closedir(stream); }

int reeve_lock_exclusive(int file) { RETRY(int, flock(file, LOCK_EX | LOCK_NB)); }

int reeve_unlock(int file) { RETRY(int, flock(file, LOCK_UN)); }

int reeve_replace_content(int file, const void *buffer, size_t count) {
    if (ftruncate(file, 0) < 0) return -errno;
    if (lseek(file, 0, SEEK_SET) < 0) return -errno;
    return reeve_write_all(file, buffer, count);
}

int64_t reeve_peak_resident_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0) return -errno;
#if defined(__APPLE__)
    return (int64_t)usage.ru_maxrss;
#else
    return (int64_t)usage.ru_maxrss * 1024;
#endif
}

int32_t reeve_process_id(void) { return (int32_t)getpid(); }

void reeve_describe_error(int number, char *buffer, size_t count) {
    if (count == 0) return;
#if defined(__GLIBC__)
    // The GNU variant returns the text, which need not be in the buffer.
    char space[128];
    const char *text = strerror_r(number, space, sizeof space);
    snprintf(buffer, count, "%s", text);
#else
    if (strerror_r(number, buffer, count) != 0) snprintf(buffer, count, "error %d", number);
#endif
}

int reeve_compare(const void *left, const void *right, size_t count) {
    return count == 0 ? 0 : memcmp(left, right, count);
}

// Blocks first: memcmp is vectorised whatever the optimisation of this file.
enum { compare_block = 4096, compare_step = 64 };

size_t reeve_common_prefix(const void *left, const void *right, size_t count) {
    const unsigned char *a = left, *b = right;
    size_t same = 0;
    while (same + compare_block <= count && memcmp(a + same, b + same, compare_block) == 0)
        same += compare_block;
    while (same + compare_step <= count && memcmp(a + same, b + same, compare_step) == 0)
        same += compare_step;
    while (same < count && a[same] == b[same]) same++;
    return same;
}

size_t reeve_common_suffix(const void *left_end, const void *right_end, size_t count) {
    const unsigned char *a = left_end, *b = right_end;
    size_t same = 0;
    while (same + compare_block <= count
           && memcmp(a - same - compare_block, b - same - compare_block, compare_block) == 0)
        same += compare_block;
    while (same + compare_step <= count
           && memcmp(a - same - compare_step, b - same - compare_step, compare_step) == 0)
        same += compare_step;
    while (same < count && *(a - same - 1) == *(b - same - 1)) same++;
    return same;
}
