import ClusterRole
import Foundation
import Logging
import Synchronization

@testable import ArtifactStore

/// A source of releases that a test fills by hand: channels, numbers, kinds and what they need.
final class Shelf: ReleaseSource {
    struct Down: Error {}

    private struct State {
        var releases: [ChannelName: StoredRelease] = [:]
        var objects: [ContentDigest: [UInt8]] = [:]
        var words: [AppliedRelease] = []
        var isDown = false
        var isEmptied = false
        var opened = 0
    }

    let directory: TemporaryDirectory
    let signer: Ed25519Signer
    let time = StandingTime()
    private let history = HistoryID(from: SystemRandomSource())
    private let state = Mutex(State())

    init() throws {
        directory = try TemporaryDirectory()
        signer = try Ed25519Signer()
    }

    var isDown: Bool {
        get { state.withLock { $0.isDown } }
        set { state.withLock { $0.isDown = newValue } }
    }

    /// Answers that there are no releases at all, as a source does whose disk was not mounted.
    var isEmptied: Bool {
        get { state.withLock { $0.isEmptied } }
        set { state.withLock { $0.isEmptied = newValue } }
    }

    /// How many bundles were asked for.
    var openedCount: Int { state.withLock { $0.opened } }

    /// What was said about a channel, in order.
    func words(about channel: ChannelName) -> [AppliedRelease] {
        state.withLock { $0.words.filter { $0.channel == channel } }
    }

    @discardableResult
    func publish(
        _ files: [String: String],
        to channel: ChannelName,
        kind: ArtifactKind = .files,
        needs: [ReleaseDependency] = []
    ) async throws -> Release {
        let path = try directory.write(files, in: "source-\(UUID().uuidString)")
        return try await publish(tree: path, to: channel, kind: kind, needs: needs)
    }

    /// Publishes a directory as it is.
    @discardableResult
    func publish(
        tree path: String,
        to channel: ChannelName,
        kind: ArtifactKind = .files,
        needs: [ReleaseDependency] = []
    ) async throws -> Release {
        let root = try OpenFile.directory(path)
        let tree = try TreeScanner.scan(root, limits: TreeLimits(), links: .insideTree)
            .manifest
        var bytes: [UInt8] = []
        let writer = BundleWriter(
            new: TreeReader(tree, in: root),
            old: nil,
            codec: .preferred,
            levels: BundleLevels()
        ) { bytes.append(contentsOf: $0) }
        try writer.write()
        let before = state.withLock { $0.releases[channel] }
        let number = before?.release.number.next ?? .first
        let release = Release(
            tenant: .standard,
            channel: channel,
            kind: kind,
            number: number,
            tree: tree,
            previousRoot: before?.release.root,
            created: time.now(),
            expires: nil,
            key: signer.publicKey.id,
            links: .insideTree,
            dependencies: needs
        )
        let object = ContentDigest(of: bytes)
        let published = PublishedRelease(
            signed: try await signer.sign(release),
            bundles: [
                BundleDescription(
                    from: nil,
                    to: tree.id,
                    object: object,
                    byteCount: Int64(bytes.count)
                )
            ]
        )
        let revision = Revision(history: history, number: number.rawValue)
        state.withLock { state in
            state.objects[object] = bytes
            state.releases[channel] = StoredRelease(published: published, revision: revision)
        }
        return release
    }

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        try state.withLock { state in
            if state.isDown { throw Down() }
            guard !state.isEmptied, let latest = state.releases[channel] else { return .empty }
            return latest.revision == revision ? .unchanged : .release(latest)
        }
    }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        let bytes = try state.withLock { state in
            state.opened += 1
            guard !state.isDown, let bytes = state.objects[bundle.object] else { throw Down() }
            return bytes
        }
        return ByteChunks([Array(bytes.dropFirst(Int(offset)))])
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        try state.withLock { state in
            if state.isDown { throw Down() }
            state.words.append(applied)
        }
    }

    // MARK: - Workers

    func configuration(_ change: (inout SyncConfiguration) -> Void = { _ in }) -> SyncConfiguration
    {
        var configuration = SyncConfiguration(node: "worker-1")
        configuration.time = time
        configuration.logger.logLevel = .critical
        change(&configuration)
        return configuration
    }

    func artifacts(
        _ channels: Set<ChannelName>,
        deployers: [any Deployer] = [DirectoryDeployer()],
        own: [ChannelName: any Deployer] = [:],
        source: (any ReleaseSource)? = nil,
        _ change: (inout SyncConfiguration) -> Void = { _ in }
    ) -> ArtifactSet {
        ArtifactSet(
            channels: channels,
            deployers: deployers,
            own: own,
            source: source ?? self,
            directory: directory.path("channels"),
            trusted: TrustedKeys(signer.publicKey),
            configuration: configuration(change)
        )
    }

    func sync(
        _ channel: ChannelName,
        deployer: any Deployer = DirectoryDeployer(),
        source: (any ReleaseSource)? = nil,
        in name: String = "worker",
        _ change: (inout SyncConfiguration) -> Void = { _ in }
    ) -> ArtifactSync {
        ArtifactSync(
            channel: channel,
            source: source ?? self,
            directory: directory.path(name),
            deployer: deployer,
            trusted: TrustedKeys(signer.publicKey),
            configuration: configuration(change)
        )
    }
}

/// Notes what several channels' deployers were asked, in one order.
final class Journal: Sendable {
    private let lines = Mutex<[String]>([])
    var entries: [String] { lines.withLock { $0 } }
    func note(_ line: String) { lines.withLock { $0.append(line) } }
    func clear() { lines.withLock { $0 = [] } }
}

/// A deployer that writes into a shared journal, and refuses or hangs where it is told to.
final class JournalDeployer: Deployer {
    struct Poisoned: Error {}

    private struct Faults {
        var poisoned: Set<String> = []
        var stuck: Set<String> = []
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    let kind: ArtifactKind
    private let journal: Journal
    private let faults = Mutex(Faults())

    init(kind: ArtifactKind = .files, journal: Journal) {
        self.kind = kind
        self.journal = journal
    }

    /// From now on the step, such as `prepare web 2`, throws.
    func poison(_ step: String) { faults.withLock { _ = $0.poisoned.insert(step) } }

    /// From now on the step does not come back, whatever happens to its task.
    func hang(_ step: String) { faults.withLock { _ = $0.stuck.insert(step) } }

    func letGo() {
        let waiters = faults.withLock { faults in
            faults.stuck = []
            defer { faults.waiters = [] }
            return faults.waiters
        }
        waiters.forEach { $0.resume() }
    }

    private func step(_ name: String, _ release: ActiveRelease) async throws {
        let line = "\(name) \(release.release.channel) \(release.release.number)"
        journal.note(line)
        if faults.withLock({ $0.poisoned.contains(line) }) { throw Poisoned() }
        guard faults.withLock({ $0.stuck.contains(line) }) else { return }
        await withCheckedContinuation { waiter in faults.withLock { $0.waiters.append(waiter) } }
    }

    func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
        try await step("prepare", new)
    }
    func checkHealth(of new: ActiveRelease) async throws { try await step("check", new) }
    func activate(_ new: ActiveRelease) async throws { try await step("activate", new) }
    func drain(_ old: ActiveRelease) async { try? await step("drain", old) }
    func remove(_ old: ActiveRelease) async { try? await step("remove", old) }
}

/// Runs a service while `body` runs, and waits for its end.
func running(
    _ service: @escaping @Sendable () async throws -> Void,
    _ body: () async throws -> Void
) async throws {
    let task = Task { try await service() }
    do {
        try await body()
    } catch {
        task.cancel()
        _ = await task.result
        throw error
    }
    task.cancel()
    do { try await task.value } catch is CancellationError {}
}
