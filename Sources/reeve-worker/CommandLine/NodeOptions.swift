#if Server && SQLite
public import ArgumentParser
internal import ClusterRole
public import Configuration
internal import Foundation
internal import Logging
public import ServiceLifecycle
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
    /// A failure is printed in one line; the process ends with status 1.
    public func run(_ open: () async throws -> any Service) async throws {
        do {
            var services = [try await open()]
            if exitWithParent { services.append(ParentWatch()) }
            let group = ServiceGroup(
                configuration: ServiceGroupConfiguration(
                    services: services,
                    gracefulShutdownSignals: [.sigterm, .sigint],
                    logger: Logger(label: "reeve")
                )
            )
            try await group.run()
        } catch let error as any CodedError {
            FileHandle.standardError.write(Data("error: \(error)\n".utf8))
            throw ExitCode(1)
        }
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
