#if Server && SQLite
public import ArgumentParser
internal import ClusterRole
public import Configuration
internal import Foundation
internal import Logging
public import ServiceLifecycle
internal import Synchronization
internal import UnixSignals

/// What every command that runs one node has in common: where its configuration comes from, and how it
/// starts and ends.
public struct NodeOptions: ParsableArguments, Sendable {
    /// For the help of commands.
    public static let discussion = """
        Configuration is read from arguments, then the environment, then the file; the first that has a key \
        wins. A key such as listen.port is --listen-port as an argument and LISTEN_PORT in the environment.
        """

    @Option(help: "A JSON file with the configuration.")
    public var config: String?

    @Flag(help: ArgumentHelp("End when the parent process ends.", visibility: .hidden))
    public var exitWithParent = false

    @Argument(parsing: .allUnrecognized, help: "Configuration keys, such as --listen-port 8080.")
    public var keys: [String] = []

    public init() {}

    /// The configuration: arguments, environment, file.
    public func reader() async throws -> ConfigReader {
        var providers: [any ConfigProvider] = [
            CommandLineArgumentsProvider(arguments: ["reeve"] + keys),
            EnvironmentVariablesProvider(),
        ]
        if let config {
            do {
                let place = InMemoryProvider(values: ["filePath": .init(stringLiteral: config)])
                providers.append(
                    try await FileProvider<JSONSnapshot>(config: ConfigReader(provider: place))
                )
            } catch {
                throw ValidationError("The configuration file \(config) cannot be read: \(error)")
            }
        }
        return ConfigReader(providers: providers)
    }

    /// Opens a node and runs it as this process's service: SIGTERM and SIGINT end it gracefully.
    ///
    /// A command of an operator ends it as well: with status 75 where it is to be started again, else
    /// with 0. A failure is printed in one line; the process ends with status 1.
    public func run(_ open: () async throws -> any Service) async throws {
        do {
            let node = try await open()
            let watch = (node as? any CommandedService).map { EndingWatch(node: $0) }
            var services: [ServiceGroupConfiguration.ServiceConfiguration] = [.init(service: node)]
            if exitWithParent { services.append(.init(service: ParentWatch())) }
            if let watch {
                services.append(
                    .init(
                        service: watch,
                        successTerminationBehavior: .gracefullyShutdownGroup
                    )
                )
            }
            let group = ServiceGroup(
                configuration: ServiceGroupConfiguration(
                    services: services,
                    gracefulShutdownSignals: [.sigterm, .sigint],
                    logger: Logger(label: "reeve")
                )
            )
            try await group.run()
            if let ending = watch?.ending, ending.status != 0 { throw ExitCode(ending.status) }
        } catch let error as any CodedError {
            FileHandle.standardError.write(Data("error: \(error)\n".utf8))
            throw ExitCode(1)
        }
    }
}

/// Ends the process's services when an operator tells the node to end.
private final class EndingWatch: Service {
    private let node: any CommandedService
    private let told = Mutex<NodeEnding?>(nil)

    init(node: any CommandedService) { self.node = node }

    /// How the node was told to end; `nil` if it was not.
    var ending: NodeEnding? { told.withLock { $0 } }

    func run() async throws {
        let node = node
        let ending = await cancelWhenGracefulShutdown { await node.ended() }
        guard let ending else { return }
        if !ending.isGraceful {
            // Not exit(3): what it tears down is in use by other threads.
            fflush(nil)
            _exit(ending.status)
        }
        told.withLock { $0 = ending }
    }
}

/// Ends the process's services when its parent has ended, so that a killed demonstration leaves nothing
/// behind.
public struct ParentWatch: Service {
    private let parent = getppid()

    public init() {}

    public func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while getppid() == parent { try await Task.sleep(for: .milliseconds(250)) }
        }
    }
}
#endif
