#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "FileFaultSupport.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define WATCHED_BY_A_SANITIZER 1
#endif
#endif

// A sanitizer defines the same names for its own ends.
#if defined(__linux__) && !defined(WATCHED_BY_A_SANITIZER)

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic(file_fault_observer) observer;
static char prefix[PATH_MAX];

int file_fault_is_available(void) { return 1; }

void file_fault_observe(file_fault_observer next, const char *below) {
    atomic_store(&observer, NULL);
    if (next) {
        snprintf(prefix, sizeof prefix, "%s/", below);
        atomic_store(&observer, next);
    }
}

// The C library's own function, looked up once.
#define REAL(name)                                                                                 \
    (*({                                                                                           \
        static _Atomic(void *) found_;                                                             \
        void *real_ = atomic_load_explicit(&found_, memory_order_relaxed);                         \
        if (!real_) {                                                                              \
            real_ = dlsym(RTLD_NEXT, #name);                                                       \
            atomic_store_explicit(&found_, real_, memory_order_relaxed);                           \
        }                                                                                          \
        (__typeof__(&name))real_;                                                                  \
    }))

// The absolute path of `path` in `directory`, or of the open file `directory` if `path` is NULL.
static const char *resolve(int directory, const char *path, char *buffer) {
    if (path && path[0] == '/') return path;
    char link[64], base[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return NULL;
    base[length] = '\0';
    if (path)
        snprintf(buffer, PATH_MAX, "%s/%s", base, path);
    else
        snprintf(buffer, PATH_MAX, "%s", base);
    return buffer;
}

static int is_watched(const char *path) {
    return path && strncmp(path, prefix, strlen(prefix) - 1) == 0
        && (path[strlen(prefix) - 1] == '/' || path[strlen(prefix) - 1] == '\0');
}

// Runs `call` between both notices.
#define STEP(kind_, path_, other_, bytes_, count_, mode_, call)                                    \
    file_fault_observer told = atomic_load(&observer);                                             \
    if (!told) return call;                                                                        \
    const char *at_ = (path_);                                                                     \
    if (!is_watched(at_)) return call;                                                             \
    struct file_fault_step step = {kind_, at_, (other_), (bytes_), (count_), (mode_)};             \
    int fault = told(&step, 0);                                                                    \
    if (fault) {                                                                                   \
        errno = fault;                                                                             \
        return -1;                                                                                 \
    }                                                                                              \
    __auto_type result = call;                                                                     \
    if (result >= 0) told(&step, 1);                                                               \
    return result

int openat(int directory, const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list list;
        va_start(list, flags);
        mode = va_arg(list, mode_t);
        va_end(list);
    }
    if (!(flags & O_EXCL)) return REAL(openat)(directory, path, flags, mode);
    char buffer[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_CREATE, resolve(directory, path, buffer), NULL, NULL, 0, mode,
         REAL(openat)(directory, path, flags, mode));
}

ssize_t write(int file, const void *bytes, size_t count) {
    // Most writes of a process are of no interest here, and must stay cheap.
    if (!atomic_load(&observer)) return REAL(write)(file, bytes, count);
    char buffer[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_WRITE, resolve(file, NULL, buffer), NULL, bytes, count, 0,
         REAL(write)(file, bytes, count));
}

int fsync(int file) {
    char buffer[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_SYNC, resolve(file, NULL, buffer), NULL, NULL, 0, 0, REAL(fsync)(file));
}

int syncfs(int file) {
    char buffer[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_SYNC_FILE_SYSTEM, resolve(file, NULL, buffer), NULL, NULL, 0, 0,
         REAL(syncfs)(file));
}

int mkdirat(int directory, const char *path, mode_t mode) {
    char buffer[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_MAKE_DIRECTORY, resolve(directory, path, buffer), NULL, NULL, 0, mode,
         REAL(mkdirat)(directory, path, mode));
}

int symlinkat(const char *target, int directory, const char *path) {
    char buffer[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_MAKE_LINK, resolve(directory, path, buffer), target, NULL, 0, 0,
         REAL(symlinkat)(target, directory, path));
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    char buffer[PATH_MAX + NAME_MAX], second[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_HARD_LINK, resolve(from_directory, from, buffer),
         resolve(to_directory, to, second), NULL, 0, 0,
         REAL(linkat)(from_directory, from, to_directory, to, flags));
}

int fchmod(int file, mode_t mode) {
    char buffer[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_CHANGE_MODE, resolve(file, NULL, buffer), NULL, NULL, 0, mode,
         REAL(fchmod)(file, mode));
}

int unlinkat(int directory, const char *path, int flags) {
    char buffer[PATH_MAX + NAME_MAX];
    STEP(flags & AT_REMOVEDIR ? FILE_FAULT_REMOVE_DIRECTORY : FILE_FAULT_REMOVE_FILE,
         resolve(directory, path, buffer), NULL, NULL, 0, 0,
         REAL(unlinkat)(directory, path, flags));
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    char buffer[PATH_MAX + NAME_MAX], second[PATH_MAX + NAME_MAX];
    STEP(FILE_FAULT_RENAME, resolve(from_directory, from, buffer),
         resolve(to_directory, to, second), NULL, 0, 0,
         REAL(renameat)(from_directory, from, to_directory, to));
}

// renameat2 is called by its number.
static long renamed(int from_directory, const char *from, int to_directory, const char *to,
                    unsigned flags) {
    char buffer[PATH_MAX + NAME_MAX], second[PATH_MAX + NAME_MAX];
    STEP(flags & 2 ? FILE_FAULT_EXCHANGE : FILE_FAULT_RENAME,
         resolve(from_directory, from, buffer), resolve(to_directory, to, second), NULL, 0, 0,
         REAL(syscall)(SYS_renameat2, from_directory, from, to_directory, to, flags));
}

long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
    long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    if (number == SYS_renameat2 && atomic_load(&observer))
        return renamed((int)a, (const char *)b, (int)c, (const char *)d, (unsigned)e);
    return REAL(syscall)(number, a, b, c, d, e, f);
}

#else

int file_fault_is_available(void) { return 0; }

void file_fault_observe(file_fault_observer next, const char *below) {
    (void)next;
    (void)below;
}

#endif
