internal import Synchronization

/// A release whose tree lies on this node's disk.
public struct ActiveRelease: Hashable, Sendable {
    /// The verified record.
    public let release: Release
    /// The absolute path of the tree. It stays as it is for as long as a lease on it is held.
    public let directory: String

    /// A tree that is there; tests of deployers make their own.
    public init(release: Release, directory: String) {
        self.release = release
        self.directory = directory
    }

    /// The path of something in the tree.
    public func path(of relative: String) -> String { "\(directory)/\(relative)" }
}

/// User code that loads releases of one kind on a worker.
///
/// Only ``kind`` must be written; everything else does nothing unless it is. ``ArtifactSync`` calls
/// one method at a time:
/// `prepare`, `checkHealth`, (the switch), `activate`, `drain` of the old one, later `remove` of
/// it. Beside that a ``ReleaseHealthMonitor`` asks `checkHealth` of the active release again and
/// again, also while another release is prepared.
public protocol Deployer: Sendable {
    /// The kind of artifact it loads. Releases of other kinds are refused.
    var kind: ArtifactKind { get }

    /// Loads the new release beside the old one, which is still served. The tree must be treated as
    /// read-only: its files may be shared with other releases.
    ///
    /// - Parameters:
    ///   - new: the release to be served next, complete on disk.
    ///   - old: `nil` for the first release, and after a restart.
    /// - Throws: anything, to refuse the release: the old one stays.
    func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws

    /// Looks whether what was prepared works.
    ///
    /// - Throws: anything, to refuse the release: the old one stays.
    func checkHealth(of new: ActiveRelease) async throws

    /// The release is active now: new requests get it.
    ///
    /// - Throws: anything, to go back to the old one.
    func activate(_ new: ActiveRelease) async throws

    /// No request uses the old release any more, or they took longer than the drain timeout.
    func drain(_ old: ActiveRelease) async

    /// The tree of a release that was prepared, drained or refused is about to be deleted.
    func remove(_ old: ActiveRelease) async
}

extension Deployer {
    public func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {}
    public func checkHealth(of new: ActiveRelease) async throws {}
    public func activate(_ new: ActiveRelease) async throws {}
    public func drain(_ old: ActiveRelease) async {}
    public func remove(_ old: ActiveRelease) async {}
}

/// Serves straight from the directory: nothing needs to be loaded.
public struct DirectoryDeployer: Deployer {
    public let kind: ArtifactKind

    /// - Parameter kind: the kind of releases it takes.
    public init(kind: ArtifactKind = .files) { self.kind = kind }
}

/// A double that records what it was asked, and refuses what it is told to.
public final class RecordingDeployer: Deployer {
    /// One call.
    public enum Event: Hashable, Sendable {
        case prepared(ReleaseNumber, replacing: ReleaseNumber?)
        case healthChecked(ReleaseNumber)
        case activated(ReleaseNumber)
        case drained(ReleaseNumber)
        case removed(ReleaseNumber)
    }

    /// The step a release fails at.
    public enum Step: Hashable, Sendable {
        case prepare
        case checkHealth
        case activate
    }

    /// What it throws.
    public struct Refusal: Error, Hashable, Sendable, CustomStringConvertible {
        /// Where.
        public let step: Step
        /// Which release.
        public let number: ReleaseNumber
        public var description: String { "refused release \(number) at \(step)" }
    }

    private struct State {
        var events: [Event] = []
        var refusals: [ReleaseNumber: Step] = [:]
    }

    public let kind: ArtifactKind
    private let state = Mutex(State())

    /// - Parameter kind: the kind of releases it takes.
    public init(kind: ArtifactKind = .files) { self.kind = kind }

    /// All calls so far, in order.
    public var events: [Event] { state.withLock { $0.events } }

    /// The calls since the last time, in order.
    public func popEvents() -> [Event] {
        state.withLock { state in
            defer { state.events = [] }
            return state.events
        }
    }

    /// From now on `number` fails at `step`.
    public func refuse(_ number: ReleaseNumber, at step: Step) {
        state.withLock { $0.refusals[number] = step }
    }

    private func record(_ event: Event, _ step: Step? = nil, _ number: ReleaseNumber) throws {
        try state.withLock { state in
            state.events.append(event)
            if let step, state.refusals[number] == step {
                throw Refusal(step: step, number: number)
            }
        }
    }

    public func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
        let number = new.release.number
        try record(.prepared(number, replacing: old?.release.number), .prepare, number)
    }

    public func checkHealth(of new: ActiveRelease) async throws {
        try record(.healthChecked(new.release.number), .checkHealth, new.release.number)
    }

    public func activate(_ new: ActiveRelease) async throws {
        try record(.activated(new.release.number), .activate, new.release.number)
    }

    public func drain(_ old: ActiveRelease) async {
        try? record(.drained(old.release.number), nil, old.release.number)
    }

    public func remove(_ old: ActiveRelease) async {
        try? record(.removed(old.release.number), nil, old.release.number)
    }
}
