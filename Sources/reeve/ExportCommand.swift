#if Server && SQLite && Push
import ArgumentParser
import ArtifactStore
import ClusterLink
import ClusterRole
import Foundation
import HTTPHandling
import NodeCertificates

/// `reeve export --channel C --to F`
struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract:
            "Writes a channel's newest release to one file, signed, for a worker without a manager.",
        discussion: """
            It is asked for over the link, of a manager or of a worker that serves peers, so the token is \
            a worker's, or the one peers share; a manager with certificates wants a worker's \
            certificate instead. A worker takes the file with --import F; it verifies \
            the signature as if a manager had sent it.
            """
    )

    @Option(help: "The address of a manager or a peer. Also read from REEVE_MANAGER.")
    var manager: String?
    @Option(help: "A worker's token; better given as REEVE_TOKEN.") var token: String?
    @Option(help: "A worker's certificate, a PEM file, instead of a token.")
    var certificate: String?
    @Option(help: "The key of the certificate.") var key: String?
    @Option(help: "The authority of the cluster, with a certificate.") var authority: String?
    @Option(help: "The channel.") var channel: String
    @Option(help: "The tenant.") var tenant = TenantID.standard.rawValue
    @Option(help: "The file to write.") var to: String

    func run() async throws {
        try await reporting {
            let client = try client()
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

    private func client() throws -> LinkClient {
        let environment = ProcessInfo.processInfo.environment
        let address = manager ?? environment["REEVE_MANAGER"] ?? "http://127.0.0.1:8180"
        if let certificate, let key, let authority {
            let credentials = try CredentialSource(
                files: CertificateFiles(certificate: certificate, key: key, authority: authority)
            )
            return try LinkClient(
                node: credentials.credentials.peer.subject.node,
                configuration: LinkClientConfiguration(
                    addresses: [address],
                    credentials: credentials
                )
            )
        }
        guard let token = token ?? environment["REEVE_TOKEN"], !token.isEmpty else {
            throw ValidationError(
                "Give a worker's token in REEVE_TOKEN or with --token; or --certificate, --key and "
                    + "--authority."
            )
        }
        return try LinkClient(
            node: "export",
            configuration: LinkClientConfiguration(addresses: [address], token: token)
        )
    }
}
#endif
