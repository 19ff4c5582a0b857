internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import Synchronization

/// What a simulated worker's disk holds: its replica and its spool, committed together.
struct SpoolFile: Sendable {
    let incarnation: IncarnationID
    var image = ReplicaImage()
    var entries: [SpooledEntry] = []
    var lastNumber: Int64 = 0
    /// Entries up to this number are in what the image holds.
    var mark: Int64 = 0
    var epoch = Epoch.none

    init(incarnation: IncarnationID) { self.incarnation = incarnation }

    /// Entries behind the mark.
    var pending: ArraySlice<SpooledEntry> { entries(after: mark) }

    func entries(after number: Int64) -> ArraySlice<SpooledEntry> {
        let first = entries.first?.number ?? 1
        return entries.dropFirst(Int(max(0, number - first + 1)))
    }
}

/// A worker's replica and spool on a simulated disk: the overlay's and the image's real rules, over a
/// file that keeps what was written and nothing else.
///
/// It answers devices, takes their reports, and is filled and drained by the simulated link, as the
/// driver on SQLite is.
final class SimulatedReplica: PendingWorkReader, DeviceInbox, ReplicaStorage {
    private struct State {
        var overlay: SpoolOverlay
        var handedOn: Int64
        var readers: [Int: AsyncStream<Void>.Continuation] = [:]
        var nextReader = 0
    }

    private let node: NodeID
    private let life: SimulatedLife
    private let disk: SimulatedDisk<SpoolFile>
    private let state: Mutex<State>
    /// Told of each revision that is reached.
    private let reached: @Sendable (Revision, Epoch) -> Void

    init(
        disk: SimulatedDisk<SpoolFile>,
        life: SimulatedLife,
        reached: @escaping @Sendable (Revision, Epoch) -> Void
    ) {
        self.disk = disk
        self.life = life
        self.reached = reached
        node = life.node.id
        state = Mutex(
            disk.read { file in
                var overlay = SpoolOverlay(incarnation: file.incarnation)
                overlay.accept(Array(file.pending))
                return State(overlay: overlay, handedOn: file.mark)
            }
        )
    }

    // MARK: - Devices' side

    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        try disk.read { file in
            guard file.image.revision != nil else {
                throw DeviceRegistryError(
                    .cannotDecide,
                    "This node has heard nothing of its manager yet. Ask another, or this one later.",
                    retryAfter: .seconds(1)
                )
            }
            guard var work = file.image.openWork(for: device, tenant: tenant) else { return nil }
            state.withLock { $0.overlay.apply(to: &work) }
            return work
        }
    }

    func accept(_ entries: [InboxEntry]) async throws {
        try await disk.write(by: life) { file in
            let numbered = entries.enumerated().map {
                SpooledEntry(number: file.lastNumber + 1 + Int64($0.offset), entry: $0.element)
            }
            file.lastNumber += Int64(numbered.count)
            file.entries += numbered
            // Within the write, so that the overlay is in the order of the numbers.
            state.withLock { $0.overlay.accept(numbered) }
        }
        signal()
    }

    // MARK: - The managers' side

    var position: ReplicaPosition {
        disk.read { file in
            ReplicaPosition(
                incarnation: file.incarnation,
                revision: file.image.revision,
                epoch: file.epoch
            )
        }
    }

    func apply(_ page: ReplicaPage) async throws {
        try await heard(from: page.epoch)
        let isNothing = disk.read {
            page.content == .delta && page.rows.isEmpty && page.revision == $0.image.revision
                && $0.image.isSettled
        }
        if isNothing { return }
        try await disk.write(by: life) { [node] file in
            guard page.epoch >= file.epoch else {
                throw ClusterRoleError.fenced(current: file.epoch)
            }
            guard file.image.apply(page) else {
                throw ClusterRoleError(.malformed, "The page does not follow. Ask for a snapshot.")
            }
            let known = file.image.mark.flatMap { mark in
                mark.node == node && mark.incarnation == file.incarnation ? mark.number : nil
            }
            if page.content == .delta {
                file.mark = max(file.mark, known ?? 0)
            } else if page.next == nil {
                file.mark = known ?? 0
            }
            let pending = Array(file.pending)
            let mark = file.mark
            state.withLock { state in
                var overlay = SpoolOverlay(incarnation: file.incarnation)
                overlay.accept(pending)
                state.overlay = overlay
                state.handedOn = page.content == .delta ? max(state.handedOn, mark) : mark
            }
        }
        if page.next == nil { reached(page.revision, page.epoch) }
        signal()
    }

    func heard(from epoch: Epoch) async throws {
        let known = disk.read { $0.epoch }
        guard epoch >= known else { throw ClusterRoleError.fenced(current: known) }
        if epoch > known {
            try await disk.write(by: life) { $0.epoch = max($0.epoch, epoch) }
        }
    }

    func pendingEntries(limit: Int) async throws -> [SpooledEntry] {
        let handedOn = state.withLock { $0.handedOn }
        return disk.read { file in
            Array(file.entries(after: max(file.mark, handedOn)).prefix(max(1, limit)))
        }
    }

    func handedOn(upTo mark: Int64, at revision: Revision) {
        guard disk.read({ $0.image.revision?.history }) == revision.history else { return }
        state.withLock { $0.handedOn = max($0.handedOn, mark) }
    }

    func spoolSignals() -> AsyncStream<Void> {
        let (stream, sink) = AsyncStream.makeStream(
            of: Void.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        state.withLock { state in
            state.nextReader += 1
            state.readers[state.nextReader] = sink
        }
        return stream
    }

    private func signal() {
        let readers = state.withLock { state in
            state.readers.sorted { $0.key < $1.key }.map(\.value)
        }
        for reader in readers { reader.yield() }
    }
}
