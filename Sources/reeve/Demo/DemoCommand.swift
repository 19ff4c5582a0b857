#if Server && SQLite && Push
import ArgumentParser
import Foundation

/// The main job on one machine: `reeve demo`.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Runs a manager, two workers and a fleet of devices on this machine.",
        discussion: """
            Starts separate processes on loopback, in a fresh temporary directory: publishes a release and
            an update, enrols the devices, enqueues operations, wakes the devices, kills a worker and the
            manager in the middle, and ends with a summary. The exit status is 0 only if everything
            converged and nothing was lost.
            """
    )

    @Option(help: "A directory to publish as the first release; without it one is made.")
    var artifact: String?

    @Option(help: "A directory to publish as the second release.")
    var artifactUpdate: String?

    @Flag(help: "Allow symbolic links in the artifact that are absolute or leave it.")
    var allowAbsoluteLinks = false

    @Option(help: "How many devices.")
    var devices = 1_000

    @Option(help: "How often a device polls by itself, in seconds.")
    var frequency = 3.0

    @Option(help: "Deploy in this pattern behind load balancers: separate or combined.")
    var pattern: DemoTopology.Pattern?

    @Option(
        help:
            "With --pattern: reach the manager from inside only, or also through it: private or public."
    )
    var managerAccess: DemoTopology.Access?

    @Flag(help: "Leave everything running and print the addresses.")
    var keepRunning = false

    @Option(help: "Keep data and logs in this directory instead of a temporary one.")
    var directory: String?

    func validate() throws {
        guard (1...100_000).contains(devices) else {
            throw ValidationError("--devices takes 1 to 100,000.")
        }
        guard (0.1...3_600).contains(frequency) else {
            throw ValidationError("--frequency takes 0.1 to 3,600 seconds.")
        }
        guard managerAccess == nil || pattern != nil else {
            throw ValidationError("--manager-access needs --pattern.")
        }
        guard artifactUpdate == nil || artifact != nil else {
            throw ValidationError("--artifact-update needs --artifact.")
        }
    }

    func run() async throws {
        let progress = DemoProgress()
        let cluster = try DemoCluster(
            directory: directory.map { URL(fileURLWithPath: $0) },
            progress: progress,
            topology: DemoTopology(pattern: pattern, access: managerAccess ?? .private)
        )
        let interruption = DemoInterruption()
        let outcome: Result<Void, any Error>
        do {
            try await interruption.run {
                try await DemoScript(options: self, cluster: cluster, progress: progress).run()
            }
            outcome = .success(())
            if keepRunning {
                cluster.printAddresses()
                await interruption.wait()
            }
        } catch {
            outcome = .failure(error)
        }
        await cluster.stop()
        switch outcome {
        case .success:
            cluster.removeDirectory(ifTemporary: directory == nil)
            progress.line("\nEverything converged and nothing was lost.")
        case .failure(let error):
            progress.line("\nThe demonstration failed: \(error)")
            progress.line("Logs and data: \(cluster.directory.path)")
            throw ExitCode(1)
        }
    }
}

/// Turns the first SIGINT or SIGTERM into cancellation, so that no child process is left behind.
struct DemoInterruption: Sendable {
    /// Runs `body`; a signal ends it with an error.
    func run(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await body() }
            group.addTask {
                for await number in Self.signals {
                    throw DemoFailure("interrupted by signal \(number)")
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Returns at the first signal.
    func wait() async {
        for await _ in Self.signals { return }
    }

    private static var signals: AsyncStream<Int32> {
        AsyncStream { continuation in
            let sources = [SIGINT, SIGTERM].map { number in
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(signal: number)
                source.setEventHandler { continuation.yield(number) }
                source.resume()
                return SignalSource(source: source)
            }
            continuation.onTermination = { _ in sources.forEach { $0.cancel() } }
        }
    }
}

/// A dispatch source that may be cancelled from wherever the stream ends.
private struct SignalSource: @unchecked Sendable {
    // Dispatch sources are thread-safe; their protocol does not say so.
    let source: any DispatchSourceSignal
    func cancel() { source.cancel() }
}
#endif
