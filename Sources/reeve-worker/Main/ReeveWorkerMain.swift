#if Server && SQLite
import ArgumentParser
import WorkerCommandLine

/// The worker-only binary: no console, no store, no push transport is linked into it.
@main
struct ReeveWorkerMain {
    static func main() async { await WorkerCommand.main() }
}
#else
/// Without its traits the command is empty.
@main
struct ReeveWorkerMain {
    static func main() {
        print("This build of reeve-worker lacks one of the traits Server and SQLite.")
    }
}
#endif
