public import ArtifactStore
internal import ClusterRole
internal import FoundationEssentials
internal import Logging

/// The releases that a simulation publishes, one after the other: made once, before, by the real
/// publisher, and used by as many runs as one likes.
public struct SimulatedReleases: Sendable {
    /// The channel they are published to.
    public let channel: ChannelName
    public let kind: ArtifactKind
    /// Whom the workers of the simulation trust.
    public let trusted: TrustedKeys
    /// In order of their numbers.
    let published: [PublishedRelease]
    let objects: InMemoryObjectStorage

    /// Publishes trees.
    ///
    /// - Parameters:
    ///   - trees: the files of each release by their path; the first is release 1.
    ///   - channel: the channel they are published to.
    ///   - kind: which deployer loads them.
    /// - Throws: `ArtifactStoreError`, or an error of the temporary directory the files are written to.
    public init(
        of trees: [[String: [UInt8]]],
        channel: ChannelName = "simulation/site",
        kind: ArtifactKind = .files
    ) async throws {
        self.channel = channel
        self.kind = kind
        let random = SeededRandomSource(seed: 0x5EED)
        let signer = try Ed25519Signer(random: random)
        trusted = TrustedKeys(signer.publicKey)
        objects = InMemoryObjectStorage()
        let ledger = InMemoryLedger()
        let storage = InMemoryReleaseStorage(ledger: ledger)
        let scratch = try SimulatedDirectory()
        defer { scratch.remove() }
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = scratch.path
        configuration.time = ManualTimeSource()
        configuration.random = random
        configuration.logger = .quiet
        let publisher = ArtifactPublisher(
            storage: storage,
            objects: objects,
            signer: signer,
            capability: WriteCapability(epoch: ledger.raiseEpoch()),
            configuration: configuration
        )
        var options = PublishOptions(kind: kind)
        options.repetition = .publishAgain
        var published: [PublishedRelease] = []
        for (index, tree) in trees.enumerated() {
            let source = try scratch.makeTree("tree-\(index)", tree)
            let publication = try await publisher.publish(source, to: channel, options: options)
            published.append(publication.release.published)
        }
        self.published = published
    }
}

/// A directory of a simulation: in memory where the system has such a place, since what survives a
/// power cut is tried elsewhere.
struct SimulatedDirectory: Sendable {
    let path: String

    init() throws {
        let files = FileManager.default
        let memory = "/dev/shm"
        let parent = files.isWritableFile(atPath: memory) ? memory : "/tmp"
        path = "\(parent)/reeve-simulation-\(UUID().uuidString)"
        try files.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// Writes a tree into a directory of its own.
    func makeTree(_ name: String, _ tree: [String: [UInt8]]) throws -> String {
        let root = "\(path)/\(name)"
        let files = FileManager.default
        try files.createDirectory(atPath: root, withIntermediateDirectories: true)
        for (file, bytes) in tree.sorted(by: { $0.key < $1.key }) {
            let parent = file.split(separator: "/").dropLast().joined(separator: "/")
            try files.createDirectory(
                atPath: "\(root)/\(parent)",
                withIntermediateDirectories: true
            )
            try Data(bytes).write(to: URL(filePath: "\(root)/\(file)"))
        }
        return root
    }

    /// The image of a disk at this moment, for the process that comes after the one that died.
    func copy(_ from: String, to: String) {
        let files = FileManager.default
        guard files.fileExists(atPath: "\(path)/\(from)") else { return }
        try? files.copyItem(atPath: "\(path)/\(from)", toPath: "\(path)/\(to)")
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}

extension Logger {
    /// Says nothing: a simulation's nodes fail all the time.
    static let quiet = Logger(label: "reeve.simulation") { _ in SwiftLogNoOpLogHandler() }
}
