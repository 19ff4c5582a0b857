#include "CReeveSimulation.h"

#include <pthread.h>

typedef struct Job Job;

#if defined(__swift__) || __has_attribute(swiftcall)
#define REEVE_SWIFT __attribute__((swiftcall))
#else
#define REEVE_SWIFT
#endif

typedef REEVE_SWIFT void (*enqueue_original)(Job *);
typedef REEVE_SWIFT void (*enqueue_hook)(Job *, enqueue_original);

// Of the Swift runtime: called for each job that is given to the global executor, and for each
// Task.sleep.
extern enqueue_hook swift_task_enqueueGlobal_hook;

static _Thread_local bool is_running;
static _Thread_local int64_t escaped;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static enqueue_hook before;

static REEVE_SWIFT void count(Job *job, enqueue_original original) {
    if (is_running) { escaped += 1; }
    if (before) { before(job, original); } else { original(job); }
}

static void install(void) {
    before = swift_task_enqueueGlobal_hook;
    swift_task_enqueueGlobal_hook = count;
}

void reeve_simulation_begin(void) {
    pthread_once(&once, install);
    is_running = true;
    escaped = 0;
}

bool reeve_simulation_is_running(void) { return is_running; }

int64_t reeve_simulation_end(void) {
    is_running = false;
    return escaped;
}
