#if Server && SQLite && Push
import ArgumentParser
import ClusterLink
import ClusterRole
import NotificationDispatch
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
        let push = HTTPPushTransport()
        configuration.transports = ["http": push]
        let webhooks = HTTPWebhookTransport()
        configuration.webhooks = webhooks
        configuration.prober = HTTPNodeProber()
        configuration.components = [
            NodeComponent("http-push", roles: [.manager]) { push },
            NodeComponent("http-webhooks", roles: [.manager]) { webhooks },
        ]
        try await options.run { [configuration] in try await ManagerNode.open(configuration) }
    }
}
#endif
