#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "CZstandard.h"

#include <dlfcn.h>
#include <pthread.h>

// Values of the library's stable enumerations (zstd.h: ZSTD_cParameter, ZSTD_dParameter,
// ZSTD_ResetDirective).
enum {
    parameter_level = 100,
    parameter_window_log = 101,
    parameter_long_distance = 160,
    parameter_content_size = 200,
    parameter_checksum = 201,
    parameter_window_log_limit = 100,
    reset_all = 3
};

static struct {
    unsigned (*version)(void);
    size_t (*bound)(size_t);
    unsigned (*is_error)(size_t);
    void *(*make_compressor)(void);
    size_t (*free_compressor)(void *);
    size_t (*reset_compressor)(void *, int);
    size_t (*set_compressor)(void *, int, int);
    size_t (*compressor_prefix)(void *, const void *, size_t);
    size_t (*compress)(void *, void *, size_t, const void *, size_t);
    void *(*make_decompressor)(void);
    size_t (*free_decompressor)(void *);
    size_t (*reset_decompressor)(void *, int);
    size_t (*set_decompressor)(void *, int, int);
    size_t (*decompressor_prefix)(void *, const void *, size_t);
    size_t (*decompress)(void *, void *, size_t, const void *, size_t);
    unsigned long long (*content_size)(const void *, size_t);
    size_t (*frame_size)(const void *, size_t);
} zstd;

static unsigned loaded_version;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int find(void *library, const char *name, void *slot) {
    void *symbol = dlsym(library, name);
    if (!symbol) return 0;
    *(void **)slot = symbol;
    return 1;
}

static void load(void) {
#if defined(__APPLE__)
    void *library = dlopen("libzstd.1.dylib", RTLD_NOW | RTLD_LOCAL);
#else
    void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
#endif
    if (!library) return;
    int complete = find(library, "ZSTD_versionNumber", &zstd.version)
        && find(library, "ZSTD_compressBound", &zstd.bound)
        && find(library, "ZSTD_isError", &zstd.is_error)
        && find(library, "ZSTD_createCCtx", &zstd.make_compressor)
        && find(library, "ZSTD_freeCCtx", &zstd.free_compressor)
        && find(library, "ZSTD_CCtx_reset", &zstd.reset_compressor)
        && find(library, "ZSTD_CCtx_setParameter", &zstd.set_compressor)
        && find(library, "ZSTD_CCtx_refPrefix", &zstd.compressor_prefix)
        && find(library, "ZSTD_compress2", &zstd.compress)
        && find(library, "ZSTD_createDCtx", &zstd.make_decompressor)
        && find(library, "ZSTD_freeDCtx", &zstd.free_decompressor)
        && find(library, "ZSTD_DCtx_reset", &zstd.reset_decompressor)
        && find(library, "ZSTD_DCtx_setParameter", &zstd.set_decompressor)
        && find(library, "ZSTD_DCtx_refPrefix", &zstd.decompressor_prefix)
        && find(library, "ZSTD_decompressDCtx", &zstd.decompress)
        && find(library, "ZSTD_getFrameContentSize", &zstd.content_size)
        && find(library, "ZSTD_findFrameCompressedSize", &zstd.frame_size);
    // 1.4.0 made the parameter and prefix functions stable.
    if (complete && zstd.version() >= 10400) loaded_version = zstd.version();
}

unsigned reeve_zstd_version(void) {
    pthread_once(&once, load);
    return loaded_version;
}

int64_t reeve_zstd_bound(size_t count) {
    if (!reeve_zstd_version()) return REEVE_ZSTD_UNAVAILABLE;
    size_t bound = zstd.bound(count);
    return zstd.is_error(bound) ? REEVE_ZSTD_FAILED : (int64_t)bound;
}

void *reeve_zstd_compressor(void) {
    return reeve_zstd_version() ? zstd.make_compressor() : NULL;
}

void reeve_zstd_compressor_free(void *compressor) {
    if (compressor && reeve_zstd_version()) zstd.free_compressor(compressor);
}

void *reeve_zstd_decompressor(void) {
    return reeve_zstd_version() ? zstd.make_decompressor() : NULL;
}

void reeve_zstd_decompressor_free(void *decompressor) {
    if (decompressor && reeve_zstd_version()) zstd.free_decompressor(decompressor);
}

int64_t reeve_zstd_compress(void *compressor, void *target, size_t capacity, const void *source,
                            size_t count, const void *prefix, size_t prefix_count, int level,
                            int window_log, int long_distance) {
    if (!compressor || !reeve_zstd_version()) return REEVE_ZSTD_UNAVAILABLE;
    if (zstd.is_error(zstd.reset_compressor(compressor, reset_all))
        || zstd.is_error(zstd.set_compressor(compressor, parameter_level, level))
        || zstd.is_error(zstd.set_compressor(compressor, parameter_content_size, 1))
        || zstd.is_error(zstd.set_compressor(compressor, parameter_checksum, 0)))
        return REEVE_ZSTD_FAILED;
    if (window_log
        && zstd.is_error(zstd.set_compressor(compressor, parameter_window_log, window_log)))
        return REEVE_ZSTD_FAILED;
    if (long_distance
        && zstd.is_error(zstd.set_compressor(compressor, parameter_long_distance, 1)))
        return REEVE_ZSTD_FAILED;
    if (prefix_count
        && zstd.is_error(zstd.compressor_prefix(compressor, prefix, prefix_count)))
        return REEVE_ZSTD_FAILED;
    size_t size = zstd.compress(compressor, target, capacity, source, count);
    return zstd.is_error(size) ? REEVE_ZSTD_FAILED : (int64_t)size;
}

int64_t reeve_zstd_decompress(void *decompressor, void *target, size_t expected, const void *source,
                              size_t count, const void *prefix, size_t prefix_count,
                              int window_log_limit) {
    if (!decompressor || !reeve_zstd_version()) return REEVE_ZSTD_UNAVAILABLE;
    if (zstd.content_size(source, count) != (unsigned long long)expected) return REEVE_ZSTD_FAILED;
    if (zstd.frame_size(source, count) != count) return REEVE_ZSTD_FAILED;
    if (zstd.is_error(zstd.reset_decompressor(decompressor, reset_all))
        || zstd.is_error(zstd.set_decompressor(
            decompressor, parameter_window_log_limit, window_log_limit)))
        return REEVE_ZSTD_FAILED;
    if (prefix_count
        && zstd.is_error(zstd.decompressor_prefix(decompressor, prefix, prefix_count)))
        return REEVE_ZSTD_FAILED;
    size_t size = zstd.decompress(decompressor, target, expected, source, count);
    return size == expected ? (int64_t)size : REEVE_ZSTD_FAILED;
}
