#if Server && SQLite
public import ArgumentParser
internal import ReeveWorker

/// `reeve-worker --config F`, and `reeve worker --config F`.
public struct WorkerCommand: AsyncParsableCommand, Sendable {
    public static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Runs one worker until SIGTERM or SIGINT.",
        discussion: NodeOptions.discussion
    )

    @OptionGroup var options: NodeOptions

    public init() {}

    /// Runs the node; requests under way finish before it returns.
    public func run() async throws {
        let configuration = try WorkerConfiguration(reading: try await options.reader())
        try await options.run { try await WorkerNode.open(configuration) }
    }
}
#endif
