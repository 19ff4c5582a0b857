import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTransport
import DeviceRegistry
import Foundation
import HTTPHandling
import HummingbirdHosting
import Logging
import OperationQueue

/// A manager: objects on the disk, records in memory, the link on a port of this machine.
final class BenchmarkManager: Sendable {
    static let channel: ChannelName = "bench/tree"
    /// As long as a real one.
    static let token = String(repeating: "t", count: 43)

    private let publisher: ArtifactPublisher
    private let signer: Ed25519Signer
    private let directory: String
    private let server: ReeveServer
    private let objects: DirectoryObjectStorage
    private let memory = MemoryHandler()

    init(directory: String, port: Int) throws {
        self.directory = directory
        for name in ["", "/scratch"] {
            try FileManager.default.createDirectory(
                atPath: directory + name,
                withIntermediateDirectories: true
            )
        }
        let ledger = InMemoryLedger()
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        let releases = InMemoryReleaseStorage(ledger: ledger)
        let devices = InMemoryDeviceStorage(ledger: ledger)
        let operations = InMemoryOperationStorage(ledger: ledger, devices: devices)
        let members = InMemoryMemberRegistry(ledger: ledger)
        objects = try DirectoryObjectStorage(path: directory + "/objects")
        signer = try Ed25519Signer()
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = directory + "/scratch"
        configuration.logger = silent
        publisher = ArtifactPublisher(
            storage: releases,
            objects: objects,
            signer: signer,
            capability: capability,
            configuration: configuration
        )
        let authority = LinkAuthority(
            capability: capability,
            members: ClusterMembers(registry: members).writer(for: capability)
        )
        let endpoint = try LinkEndpoint(
            services: LinkServices(
                replicas: operations,
                operations: operations,
                devices: devices,
                enrolment: EnrolmentDesk(
                    administration: DeviceAdministration(storage: devices, capability: capability),
                    policy: SharedSecretPolicy(secret: "secret")
                ),
                hints: InMemoryHintBus(),
                releases: releases,
                objects: objects,
                authority: { authority }
            ),
            authenticator: InMemoryTokens([
                Self.token: Identity(name: "worker-1", permissions: [.link])
            ])
        )
        server = try ReeveServer(
            configuration: ReeveServerConfiguration(address: .loopback(port: port)),
            mounts: [
                HandlerMount(LinkEndpoint.standardPrefix, endpoint),
                HandlerMount("/memory", memory),
            ],
            logger: silent
        )
    }

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.server.run() }
            group.addTask { try await self.commands() }
            try await group.next()
            group.cancelAll()
        }
    }

    private func commands() async throws {
        _ = try await server.boundAddress
        try say(["key": "\(signer.publicKey)"])
        try await eachCommand { words in
            let step = Step()
            switch words[0] {
            case "publish":
                let publication = try await publisher.publish(
                    words[1],
                    to: Self.channel,
                    options: PublishOptions(kind: .files, links: .allowAbsolute)
                )
                try step.report(Self.facts(publication))
            case "rollback":
                let number = ReleaseNumber(Int64(words[1]) ?? 1)
                try step.report(
                    Self.facts(try await publisher.rollback(Self.channel, to: number))
                )
            case "hold":
                // Serves the newest full bundle from memory too, under /memory.
                guard let full = try await publisher.latest(of: Self.channel)?.published.bundles[0]
                else { throw Misuse("nothing is published") }
                memory.hold(
                    try await objects.read(full.object, from: 0).collect(upTo: 1 << 30)
                )
                try step.report(["object": "\(full.object)", "bytes": full.byteCount])
            case "usage": try step.report(["total": Step.processorSeconds()])
            default: throw Misuse("unknown command \(words[0])")
            }
        }
    }

    private static func facts(_ publication: Publication) -> [String: any Sendable] {
        [
            "files": publication.fileCount, "bytes": publication.totalBytes,
            "full": publication.bundles.first?.byteCount ?? 0,
            "update": publication.bundles.dropFirst().first?.byteCount ?? 0,
            "number": publication.release.release.number.rawValue,
        ]
    }
}

let silent = Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() }
