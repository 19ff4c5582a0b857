#ifndef REEVE_ZSTANDARD_H
#define REEVE_ZSTANDARD_H

#include <stddef.h>
#include <stdint.h>

// libzstd (RFC 8878), loaded at run time.
//
// Nothing is linked and no header of the library is needed: the functions used here are part of its
// stable interface since 1.4.0. Where the library is missing, reeve_zstd_version returns 0 and all
// else fails with REEVE_ZSTD_UNAVAILABLE.

enum {
    REEVE_ZSTD_UNAVAILABLE = -1,
    REEVE_ZSTD_FAILED = -2
};

// The library's version as it gives it (1.5.4 is 10504), or 0. Loads it on the first call; safe
// from any thread.
unsigned reeve_zstd_version(void);

// An upper bound of the compressed size.
int64_t reeve_zstd_bound(size_t count);

// Contexts keep their working memory from frame to frame. Not safe from two threads at once.
void *reeve_zstd_compressor(void);
void reeve_zstd_compressor_free(void *compressor);
void *reeve_zstd_decompressor(void);
void reeve_zstd_decompressor_free(void *decompressor);

// Compresses one frame. `prefix` may be NULL; it is used for this frame only. `window_log` 0 leaves
// the choice to the library. Returns the frame's size, or a negative number.
int64_t reeve_zstd_compress(void *compressor, void *target, size_t capacity, const void *source,
                            size_t count, const void *prefix, size_t prefix_count, int level,
                            int window_log, int long_distance);

// Decompresses one frame, which must say that it holds exactly `expected` bytes and must fill the
// input: nothing beyond `target[0..<expected]` is ever written. Returns `expected`, or a negative
// number.
int64_t reeve_zstd_decompress(void *decompressor, void *target, size_t expected, const void *source,
                              size_t count, const void *prefix, size_t prefix_count,
                              int window_log_limit);

#endif
