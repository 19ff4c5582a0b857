#ifndef FILE_FAULT_SUPPORT_H
#define FILE_FAULT_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

// Watches what this process does to files below one directory, and makes single steps fail.
//
// The system calls' names are defined here once more; the test program's own calls are bound to these
// definitions, which tell an observer and go on to the C library. Nothing outside tests links this.

enum {
    FILE_FAULT_CREATE = 1,
    FILE_FAULT_WRITE = 2,
    FILE_FAULT_SYNC = 3,
    FILE_FAULT_SYNC_FILE_SYSTEM = 4,
    FILE_FAULT_MAKE_DIRECTORY = 5,
    FILE_FAULT_MAKE_LINK = 6,
    FILE_FAULT_HARD_LINK = 7,
    FILE_FAULT_CHANGE_MODE = 8,
    FILE_FAULT_REMOVE_FILE = 9,
    FILE_FAULT_REMOVE_DIRECTORY = 10,
    FILE_FAULT_RENAME = 11,
    FILE_FAULT_EXCHANGE = 12
};

struct file_fault_step {
    int kind;
    const char *path;   // absolute
    const char *other;  // where a rename or hard link leads, what a symbolic link says
    const void *bytes;  // of a write
    size_t count;
    uint32_t mode;
};

// `is_done` is 0 before the step: an error number lets it fail, 0 lets it go on. It is 1 after a step
// that succeeded.
typedef int (*file_fault_observer)(const struct file_fault_step *step, int is_done);

// Whether steps can be watched here: on Linux, without a sanitizer.
int file_fault_is_available(void);

// Watches what is below `prefix`; NULL ends it.
void file_fault_observe(file_fault_observer observer, const char *prefix);

#endif
