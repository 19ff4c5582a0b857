import ArtifactStore
import ClusterRole
import Foundation
import Logging
import Synchronization
import XCTest

/// A directory that goes away with the test.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("reeve-tests-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func path(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes files, making directories on the way.
    func write(_ files: [String: String], in directory: String = "source") throws -> String {
        let root = path(directory)
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        for (name, text) in files {
            let url = URL(fileURLWithPath: "\(root)/\(name)")
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data(text.utf8).write(to: url)
        }
        return root
    }
}

/// A clock that stands until it is moved; sleeping ends with cancellation, or when time has come.
final class StandingTime: TimeSource {
    private struct State {
        var now: Int64 = 1_000_000
        var sleepers: [(id: Int, until: Int64, wake: CheckedContinuation<Void, Never>)] = []
        var cancelled: Set<Int> = []
        var nextID = 0
    }

    private let state = Mutex(State())

    var sleeperCount: Int { state.withLock { $0.sleepers.count } }

    func now() -> Timestamp { Timestamp(milliseconds: state.withLock { $0.now }) }
    func monotonic() -> Duration { .milliseconds(state.withLock { $0.now }) }

    func advance(by duration: Duration) {
        let due = state.withLock { state in
            state.now += duration.milliseconds
            let due = state.sleepers.filter { $0.until <= state.now }
            state.sleepers.removeAll { $0.until <= state.now }
            return due
        }
        for sleeper in due { sleeper.wake.resume() }
    }

    func sleep(for duration: Duration) async throws {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.cancelled.remove(id) != nil { return true }
                    state.sleepers.append((id, state.now + duration.milliseconds, continuation))
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                guard let index = state.sleepers.firstIndex(where: { $0.id == id }) else {
                    state.cancelled.insert(id)
                    return CheckedContinuation<Void, Never>?.none
                }
                return state.sleepers.remove(at: index).wake
            }
            sleeper?.resume()
        }
        try Task.checkCancellation()
    }
}

/// A source that damages what passes through it, as it is told.
final class TamperingSource: ReleaseSource {
    enum Fault: Sendable {
        case truncate(at: Int)
        case flip(at: Int)
        case refuse
        case replaceRelease(@Sendable (PublishedRelease) throws -> PublishedRelease)
    }

    struct Refused: Error {}

    private let base: any ReleaseSource
    private let state = Mutex<(full: Fault?, update: Fault?, release: Fault?, opened: [String])>(
        (nil, nil, nil, [])
    )

    init(_ base: any ReleaseSource) { self.base = base }

    func damage(full: Fault? = nil, update: Fault? = nil, release: Fault? = nil) {
        state.withLock { $0 = (full, update, release, []) }
    }

    var opened: [String] { state.withLock { $0.opened } }

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        let answer = try await base.latestRelease(of: channel, tenant: tenant, unlessAt: revision)
        switch state.withLock({ $0.release }) {
        case .refuse: throw Refused()
        case .replaceRelease(let replace):
            guard case .release(let stored) = answer else { return answer }
            return .release(
                StoredRelease(
                    published: try replace(stored.published),
                    revision: stored.revision
                )
            )
        default: return answer
        }
    }

    func bundle(
        _ bundle: BundleDescription,
        from offset: Int64
    ) async throws -> ByteChunks {
        let fault = state.withLock { state in
            state.opened.append(bundle.from == nil ? "full" : "update")
            return bundle.from == nil ? state.full : state.update
        }
        guard let fault else { return try await base.bundle(bundle, from: offset) }
        var bytes = try await base.bundle(bundle, from: 0).collect(upTo: 1 << 26)
        switch fault {
        case .refuse, .replaceRelease: throw Refused()
        case .truncate(let length): bytes = Array(bytes.prefix(length))
        case .flip(let bit):
            if bit / 8 < bytes.count { bytes[bit / 8] ^= 1 << UInt8(bit % 8) }
        }
        return ByteChunks([Array(bytes.dropFirst(Int(offset)))])
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        try await base.acknowledge(applied, tenant: tenant)
    }
}

/// A manager and workers in one process.
struct Harness {
    let directory: TemporaryDirectory
    let ledger = InMemoryLedger()
    let releases: InMemoryReleaseStorage
    let objects = InMemoryObjectStorage()
    let capability: WriteCapability
    let signer: Ed25519Signer
    let publisher: ArtifactPublisher
    let source: TamperingSource
    let time = StandingTime()

    static let channel: ChannelName = "web/site"

    init(codec: BundleCodec = .preferred) throws {
        directory = try TemporaryDirectory()
        releases = InMemoryReleaseStorage(ledger: ledger)
        capability = WriteCapability(epoch: ledger.raiseEpoch())
        signer = try Ed25519Signer()
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = directory.path
        configuration.codec = codec
        configuration.time = time
        configuration.logger.logLevel = .critical
        publisher = ArtifactPublisher(
            storage: releases,
            objects: objects,
            signer: signer,
            capability: capability,
            configuration: configuration
        )
        source = TamperingSource(
            InProcessReleaseSource(storage: releases, objects: objects, capability: capability)
        )
    }

    func sync(
        _ name: String = "worker-1",
        deployer: any Deployer = DirectoryDeployer(),
        trusted: TrustedKeys? = nil,
        channel: ChannelName = Harness.channel,
        _ change: (inout SyncConfiguration) -> Void = { _ in }
    ) -> ArtifactSync {
        var configuration = SyncConfiguration(node: NodeID(rawValue: name))
        configuration.time = time
        configuration.logger.logLevel = .critical
        change(&configuration)
        return ArtifactSync(
            channel: channel,
            source: source,
            directory: directory.path(name),
            deployer: deployer,
            trusted: trusted ?? TrustedKeys(signer.publicKey),
            configuration: configuration
        )
    }

    func publish(_ files: [String: String], again: Bool = false) async throws -> Publication {
        let name = "source-\(UUID().uuidString)"
        let path = try directory.write(files, in: name)
        var options = PublishOptions()
        if again { options.repetition = .publishAgain }
        return try await publisher.publish(path, to: Self.channel, options: options)
    }

    func acknowledgement(of node: String = "worker-1") async throws -> AppliedRelease? {
        try await releases.acknowledgements(of: Self.channel, tenant: .standard)
            .first { $0.node.rawValue == node }
    }

    /// What `current` shows of one file.
    func current(_ file: String, of node: String = "worker-1") -> String? {
        try? String(contentsOfFile: "\(directory.path(node))/current/\(file)", encoding: .utf8)
    }
}

/// Waits until `condition` holds, yielding to whatever makes it so.
func eventually(
    _ what: String,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while try await !condition() {
        guard ContinuousClock.now < deadline else { return XCTFail("never: \(what)") }
        await Task.yield()
    }
}

/// Asserts that `body` throws an `ArtifactStoreError` of this code and returns it.
@discardableResult
func assertThrows(
    _ code: ArtifactStoreError.Code,
    file: StaticString = #filePath,
    line: UInt = #line,
    _ body: () async throws -> Void
) async -> ArtifactStoreError? {
    do {
        try await body()
        XCTFail("nothing was thrown instead of \(code.rawValue)", file: file, line: line)
    } catch let error as ArtifactStoreError {
        XCTAssertEqual(error.code, code, error.description, file: file, line: line)
        return error
    } catch {
        XCTFail("\(error) instead of \(code.rawValue)", file: file, line: line)
    }
    return nil
}

/// Every path of a tree with its mode and content, as text.
func listing(of root: String) throws -> [String] {
    let manager = FileManager.default
    return try manager.subpathsOfDirectory(atPath: root).sorted().map { name in
        let path = "\(root)/\(name)"
        let attributes = try manager.attributesOfItem(atPath: path)
        let mode = (attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0
        switch attributes[.type] as? FileAttributeType {
        case .typeDirectory: return "\(name) d \(String(mode, radix: 8))"
        case .typeSymbolicLink:
            return "\(name) -> \(try manager.destinationOfSymbolicLink(atPath: path))"
        default:
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            let digest = ContentDigest(of: [UInt8](data))
            return "\(name) \(String(mode, radix: 8)) \(data.count) \(digest)"
        }
    }
}
