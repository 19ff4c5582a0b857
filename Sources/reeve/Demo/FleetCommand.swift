#if Server && SQLite && Push
import ArgumentParser
import AsyncHTTPClient
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import Logging
import ServiceLifecycle
import UnixSignals
import WorkerCommandLine

/// The hidden command that plays the devices of the demonstration.
struct FleetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo-fleet",
        abstract: "Plays the devices of the demonstration.",
        shouldDisplay: false
    )

    @Option(help: "How many devices.") var devices: Int
    @Option(help: "Addresses of the workers.") var worker: [String]
    @Option(help: "The group the devices join.") var group: String
    @Option(help: "The enrolment secret.") var secret: String
    @Option(help: "The port for pushes and figures.") var port: Int
    @Option(help: "How often a device polls, in seconds.") var frequency: Double
    @Flag(help: "End when the parent process ends.") var exitWithParent = false

    func run() async throws {
        let client = HTTPClient.shared
        let fleet = Fleet(
            Fleet.Configuration(
                devices: devices,
                workers: worker,
                group: group,
                secret: secret,
                pushAddress: "http://127.0.0.1:\(port)",
                frequency: .seconds(frequency)
            ),
            client: client
        )
        let server = try ReeveServer(
            configuration: ReeveServerConfiguration(address: .loopback(port: port)),
            mounts: [HandlerMount("/", try Self.handler(fleet))],
            logger: Logger(label: "fleet")
        )
        var services: [any Service] = [server, FleetService(fleet: fleet)]
        if exitWithParent { services.append(ParentWatch()) }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services,
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "fleet")
            )
        )
        try await group.run()
    }

    /// `POST /wake/{device}` takes a push; `GET /figures` tells how the fleet stands.
    static func handler(_ fleet: Fleet) throws -> RouteTable {
        var routes = RouteTable()
        try routes.post("/wake/{device}", operationID: "wake", access: .open) { request in
            let known = await fleet.wake(try request.parameters.require("device"))
            return .empty(known ? .noContent : .notFound)
        }
        try routes.get("/figures", operationID: "figures", access: .open) { _ in
            try .json(await fleet.snapshot())
        }
        return routes
    }
}

private struct FleetService: Service {
    let fleet: Fleet

    func run() async throws {
        try? await cancelWhenGracefulShutdown { try await fleet.run() }
    }
}
#endif
