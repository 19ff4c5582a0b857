#ifndef REEVE_SIMULATION_H
#define REEVE_SIMULATION_H

#include <stdbool.h>
#include <stdint.h>

// Counts the jobs that simulated code on this thread hands to the global executor, that is: work that
// leaves the simulation. Swift cannot set the runtime's hook itself, its calling convention is not C's.

/// Counts what this thread does from now on. One simulation runs on a thread at a time.
void reeve_simulation_begin(void);

/// Whether this thread runs a simulation.
bool reeve_simulation_is_running(void);

/// Ends it.
///
/// Returns how many jobs went to the global executor since it began.
int64_t reeve_simulation_end(void);

#endif
