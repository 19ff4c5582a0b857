#if Server && SQLite && Push
import ArgumentParser
import ArtifactStore
import ClusterRole
import Foundation
import HTTPHandling

/// `reeve publishing CHANNEL [--mode automatic|manual | --commit]`
struct PublishingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publishing",
        abstract: "Shows a watched directory, says who decides, or publishes it now."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "The channel.") var channel: String
    @Option(help: "automatic: whenever it changed and is at rest; manual: only when told.")
    var mode: String?
    @Flag(help: "Publish it now, whatever the mode is.") var commit = false

    func run() async throws {
        try await reporting {
            let client = try options.client()
            let path = "/admin/v1/channels/\(JSONClient.segment(channel))/publishing"
            if let mode { try await client.put(path, ["mode": .string(mode)]) }
            let answer =
                commit ? try await client.post("\(path)/commit", [:]) : try await client.get(path)
            try printJSON(answer)
        }
    }
}

/// `reeve root …`: makes, signs, shows and installs root records. Making and signing ask no manager:
/// the root keys belong elsewhere.
struct RootCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "root",
        abstract: "Makes, signs and installs the record that names the keys workers trust.",
        subcommands: [MakeRoot.self, SignRoot.self, InstallRoot.self, ListRoots.self]
    )

    /// `reeve root make`
    struct MakeRoot: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "make",
            abstract: "Makes a root record and signs it with a key of this machine."
        )

        @Option(help: "Its version: 1, or the next one.") var version: Int64
        @Option(help: "A public root key; may be repeated.") var rootKey: [String]
        @Option(help: "How many root keys must sign.") var rootThreshold = 1
        @Option(help: "A public release key; may be repeated.") var releaseKey: [String]
        @Option(help: "How many release keys must sign.") var releaseThreshold = 1
        @Option(help: "A public pointer key; may be repeated.") var pointerKey: [String]
        @Option(help: "How many pointer keys must sign.") var pointerThreshold = 1
        @Option(help: "Days after which nothing new is accepted under it.") var expiresAfter: Int?
        @Option(help: "The file of a root key that signs; it is made if it is missing.")
        var key: String
        @Argument(help: "The file to write.") var file: String

        func run() async throws {
            try await reporting {
                let root = try RootRecord(
                    version: version,
                    rootKeys: try Self.role(rootKey, rootThreshold),
                    releaseKeys: try Self.role(releaseKey, releaseThreshold),
                    pointerKeys: try Self.role(pointerKey, pointerThreshold),
                    expires: expiresAfter.map {
                        SystemTimeSource().now() + .seconds(Int64($0) * 86_400)
                    }
                )
                let signed = try await SignedRoot.signed(root, by: [try Ed25519Signer(file: key)])
                try Data(signed.encoded).write(to: URL(fileURLWithPath: file))
            }
        }

        private static func role(_ keys: [String], _ threshold: Int) throws -> RoleKeys {
            try RoleKeys(
                try keys.map { try ReleasePublicKey(parsing: $0) },
                threshold: threshold
            )
        }
    }

    /// `reeve root sign`
    struct SignRoot: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "sign",
            abstract: "Adds a signature to a root record: an old root key's, or another new one's."
        )

        @Option(help: "The file of the key that signs.") var key: String
        @Argument(help: "The root record; it is written again.") var file: String

        func run() async throws {
            try await reporting {
                let url = URL(fileURLWithPath: file)
                let before = try SignedRoot(decoding: Array(try Data(contentsOf: url)))
                let signer = try Ed25519Signer(file: key)
                let mine = try await SignedRoot.signed(before.root, by: [signer])
                let others = before.signatures.filter { $0.key != signer.publicKey.id }
                let signed = try SignedRoot(
                    record: before.record,
                    signatures: others + mine.signatures
                )
                try Data(signed.encoded).write(to: url)
            }
        }
    }

    /// `reeve root install`
    struct InstallRoot: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "install",
            abstract: "Hands a signed root record to the manager, and so to every worker."
        )

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The root record.") var file: String

        func run() async throws {
            try await reporting {
                let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
                let digits = bytes.map { String(format: "%02x", $0) }.joined()
                try printJSON(
                    await options.client().post("/admin/v1/roots", ["record": .string(digits)])
                )
            }
        }
    }

    /// `reeve root list`
    struct ListRoots: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "Lists the root records the manager hands to workers."
        )

        @OptionGroup var options: ManagerOptions

        func run() async throws {
            try await reporting { try printJSON(await options.client().get("/admin/v1/roots")) }
        }
    }
}

/// `reeve seal NAME --to KEY … --output FILE < secret`
struct SealCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seal",
        abstract: "Seals a secret from standard input, so that it can lie in a published tree."
    )

    @Argument(help: "What the secret is called, such as database-password.") var name: String
    @Option(help: "The public opening key of a worker; may be repeated.") var to: [String]
    @Option(help: "Whose it is.") var tenant: String = "default"
    @Option(help: "The file to write.") var output: String

    func run() async throws {
        try await reporting {
            let secret = try FileHandle.standardInput.readToEnd() ?? Data()
            let sealed = try SealedValue(
                sealing: Array(secret),
                as: try SecretName(validating: name),
                tenant: try TenantID(validating: tenant),
                to: try to.map { try SealingPublicKey(parsing: $0) }
            )
            try Data(sealed.encoded).write(to: URL(fileURLWithPath: output))
        }
    }
}

/// `reeve opening-key FILE`
struct OpeningKeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "opening-key",
        abstract:
            "Prints the public half of a worker's opening key, which is made if it is missing."
    )

    @Argument(help: "The key's file, on the worker's machine.") var file: String

    func run() async throws {
        try await reporting { print(try OpeningKey(file: file).publicKey) }
    }
}
#endif
