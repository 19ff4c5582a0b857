#if Server && SQLite && Push
import ArgumentParser
import AsyncHTTPClient
import PushTransports
import ReeveManager
import WorkerCommandLine

/// `reeve manager --config F`
struct ManagerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manager",
        abstract: "Runs one manager until SIGTERM or SIGINT.",
        discussion: NodeOptions.discussion
    )

    @OptionGroup var options: NodeOptions

    func run() async throws {
        var configuration = try ManagerConfiguration(reading: try await options.reader())
        configuration.transports = TransportTable(["http": HTTPPushTransport(client: .shared)])
        try await options.run { [configuration] in try await ManagerNode.open(configuration) }
    }
}
#endif
