#if Server && SQLite && Push
import ArgumentParser
import ClusterRole
import Foundation
import HTTPHandling
import NodeCertificates

/// `reeve certificates …`: an authority, and certificates of nodes. It asks no manager: the authority's
/// key belongs elsewhere.
struct CertificatesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificates",
        abstract: "Makes an authority and certificates of nodes, takes them back, and shows them.",
        discussion: """
            A cluster with an authority of its own needs none of this: any certificate that names its node \
            in the URI spiffe://DOMAIN/ROLE/NODE will do. Files are written with mode 0600; keep the \
            directory of the authority off the nodes.
            """,
        subcommands: [
            MakeAuthority.self, IssueCertificate.self, RevokeCertificate.self, ShowCertificate.self,
        ]
    )

    /// `reeve certificates authority DIRECTORY --domain NAME`
    struct MakeAuthority: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "authority",
            abstract: "Makes an authority in a directory: its certificate, its key, an empty list."
        )

        @Argument(help: "The directory; it is made if it is missing.") var directory: String
        @Option(help: "The cluster, such as fleet.example.") var domain: String
        @Option(help: "How long it lasts.") var days = 3_650

        func run() async throws {
            try await reporting {
                let made = try CertificateDirectory.make(
                    at: directory,
                    trustDomain: domain,
                    lifetime: .seconds(Int64(days) * 86_400),
                    now: SystemTimeSource().now()
                )
                try printJSON([
                    "authority": .string(made.file(CertificateDirectory.certificateName)),
                    "key": .string(made.file(CertificateDirectory.keyName)),
                    "revoked": .string(made.file(CertificateDirectory.revokedName)),
                ])
            }
        }
    }

    /// `reeve certificates issue DIRECTORY --role ROLE --node NAME`
    struct IssueCertificate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "issue",
            abstract: "Makes a node's certificate and key: NODE.pem and NODE.key.",
            discussion: "Repeat it to rotate: a running node takes the new files within seconds."
        )

        @Argument(help: "The authority's directory.") var directory: String
        @Option(help: "manager, worker or combined.") var role: String
        @Option(help: "The node's name, its node.id.") var node: String
        @Option(help: "A name or IPv4 address for browsers and curl; may be repeated.")
        var address: [String] = []
        @Option(help: "How long it is valid.") var days = 90
        @Option(help: "Where to write them; the authority's directory if not said.")
        var output: String?

        func run() async throws {
            try await reporting {
                guard let role = NodeRole(rawValue: role) else {
                    throw NodeCertificateError(
                        .invalid,
                        "--role is manager, worker or combined, not \(role)."
                    )
                }
                let place = output ?? directory
                let issued = try CertificateDirectory(opening: directory).issue(
                    role,
                    try NodeID(validating: node),
                    addresses: address,
                    lifetime: .seconds(Int64(days) * 86_400),
                    to: place,
                    now: SystemTimeSource().now()
                )
                try printJSON(described(issued.peer, at: "\(place)/\(node).pem"))
            }
        }
    }

    /// `reeve certificates revoke DIRECTORY [--serial NUMBER | FILE]`
    struct RevokeCertificate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke",
            abstract: "Takes a certificate back: writes the next revoked.txt, for all nodes."
        )

        @Argument(help: "The authority's directory.") var directory: String
        @Argument(help: "The certificate, a PEM file.") var file: String?
        @Option(help: "Its serial number instead.") var serial: String?

        func run() async throws {
            try await reporting {
                let known = try file.map { try PeerCertificate(file: $0).serial }
                guard let number = serial ?? known else {
                    throw NodeCertificateError(
                        .invalid,
                        "Name a certificate's file or its --serial."
                    )
                }
                let place = try CertificateDirectory(opening: directory)
                let list = try place.revoke(number, now: SystemTimeSource().now())
                try printJSON([
                    "list": .string(place.file(CertificateDirectory.revokedName)),
                    "number": .integer(list.number),
                    "revoked": .integer(Int64(list.revoked.count)),
                ])
            }
        }
    }

    /// `reeve certificates show FILE …`
    struct ShowCertificate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract:
                "Shows whom certificates name, their serial numbers, and until when they are valid."
        )

        @Argument(help: "PEM files.") var files: [String]

        func run() async throws {
            try await reporting {
                try printJSON(
                    .array(try files.map { described(try PeerCertificate(file: $0), at: $0) })
                )
            }
        }
    }
}

/// A certificate as the commands show it.
private func described(_ peer: PeerCertificate, at path: String) -> JSONValue {
    let left = peer.expires - SystemTimeSource().now()
    return [
        "certificate": .string(path),
        "subject": .string(peer.subject.description),
        "serial": .string(peer.serial),
        "expires": .integer(peer.expires.milliseconds),
        "daysLeft": .integer(left.milliseconds / 86_400_000),
    ]
}
#endif
