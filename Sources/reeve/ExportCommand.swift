#if Server && SQLite && Push
import ArgumentParser
import ArtifactStore
import ClusterLink
import ClusterRole
import Foundation
import HTTPHandling

/// `reeve export --channel C --to F`
struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract:
            "Writes a channel's newest release to one file, signed, for a worker without a manager.",
        discussion: """
            It is asked for over the link, of a manager or of a worker that serves peers, so the token is \
            a worker's, or the one peers share. A worker takes the file with --import F; it verifies \
            the signature as if a manager had sent it.
            """
    )

    @Option(help: "The address of a manager or a peer. Also read from REEVE_MANAGER.")
    var manager: String?
    @Option(help: "A worker's token; better given as REEVE_TOKEN.") var token: String?
    @Option(help: "The channel.") var channel: String
    @Option(help: "The tenant.") var tenant = TenantID.standard.rawValue
    @Option(help: "The file to write.") var to: String

    func run() async throws {
        try await reporting {
            let environment = ProcessInfo.processInfo.environment
            guard let token = token ?? environment["REEVE_TOKEN"], !token.isEmpty else {
                throw ValidationError("Give a worker's token in REEVE_TOKEN or with --token.")
            }
            let client = try LinkClient(
                node: "export",
                configuration: LinkClientConfiguration(
                    addresses: [manager ?? environment["REEVE_MANAGER"] ?? "http://127.0.0.1:8180"],
                    token: token
                )
            )
            let release = try await ReleaseExport.write(
                try ChannelName(validating: channel),
                tenant: try TenantID(validating: tenant),
                from: client,
                to: URL(fileURLWithPath: to).path
            )
            try printJSON([
                "channel": .string(release.channel.rawValue),
                "number": .integer(release.number.rawValue),
                "root": .string(release.root.description), "path": .string(to),
            ])
        }
    }
}
#endif
