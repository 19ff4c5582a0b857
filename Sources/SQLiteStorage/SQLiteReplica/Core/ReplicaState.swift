#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// All that a worker's replica keeps in memory, under one lock.
struct ReplicaState: Sendable {
    var image = ReplicaImage()
    var overlay: SpoolOverlay
    var credentials: CredentialMemory
    var gauge: SpoolGauge
    var damage = ReplicaDamage()
    var epoch = Epoch.none
    /// Entries up to this number are in what the image holds.
    var mark: Int64 = 0
    /// Entries up to this number need not be handed on again.
    var handedOn: Int64 = 0
    var retainedBytes = 0
    /// Which generation of rows in the file is served.
    var generation: Int64 = 0
    /// The generation a snapshot under way is written to.
    var staging: Int64?
    /// The mark in the snapshot under way.
    var stagedMark: Int64 = 0
    /// Whether the next page must be a snapshot although there is an image.
    var needsSnapshot = false
    /// When a manager last answered, on the monotonic clock; `nil` if never.
    var heardAt: Duration?
    /// Contacts dropped because the spool was filling.
    var droppedContacts = 0

    // Entries reach the overlay in order of number, whichever caller is resumed first.

    /// Entries that were given numbers and may not be committed yet, in order.
    private var numbered: [Numbered] = []
    /// Up to which number entries were put into the overlay.
    private var overlaidThrough: Int64 = 0
    /// Entries overlaid since a replacing page was written and before it is taken.
    private var journal: (after: Int64, entries: [SpooledEntry])?

    private struct Numbered: Sendable {
        var first: Int64
        var entries: [InboxEntry]
    }

    init(incarnation: IncarnationID, configuration: WorkerReplicaConfiguration) {
        overlay = SpoolOverlay(incarnation: incarnation)
        credentials = CredentialMemory(configuration: configuration)
        gauge = SpoolGauge(limits: configuration.spool)
    }

    /// Entries were given numbers, in order. Numbers seen before were taken back with their
    /// transaction.
    mutating func onNumbered(_ entries: [InboxEntry], first: Int64) {
        numbered.removeAll { $0.first >= first }
        numbered.append(Numbered(first: first, entries: entries))
    }

    /// The entries from `first` on are durable, and so is all that was numbered before them.
    mutating func onDurable(first: Int64) {
        let count = numbered.prefix { $0.first <= first }.count
        for item in numbered.prefix(count) {
            let spooled = item.entries.enumerated().map {
                SpooledEntry(number: item.first + Int64($0.offset), entry: $0.element)
            }
            overlay(spooled)
        }
        numbered.removeFirst(count)
    }

    private mutating func overlay(_ entries: [SpooledEntry]) {
        let new = entries.filter { $0.number > overlaidThrough }
        guard let last = new.last else { return }
        overlaidThrough = last.number
        // A mark may have passed them while their caller was being resumed.
        overlay.accept(new.filter { $0.number > mark })
        if let journal {
            self.journal?.entries += new.filter {
                $0.number > journal.after && $0.entry.changesExecution
            }
        }
    }

    /// The spool as it is found in the file.
    mutating func onOpened(_ pending: ReplicaFile.PendingSummary) {
        overlay.accept(pending.overlaid)
        overlaidThrough = pending.lastNumber
        gauge.set(entries: pending.count, bytes: pending.bytes)
    }

    /// A page that replaces the mark is being committed; the spool has entries up to `last`.
    mutating func onReplacing(last: Int64) { journal = (last, []) }

    /// The manager has applied up to `mark`: the overlay drops those entries in this very step.
    mutating func onMark(_ newMark: Int64, applied: (count: Int, bytes: Int)) {
        mark = newMark
        handedOn = max(handedOn, newMark)
        gauge.remove(entries: applied.count, bytes: applied.bytes)
        overlay.drop(
            through: SpoolMark(
                node: NodeID(rawValue: "self"),
                incarnation: overlay.incarnation,
                number: newMark
            )
        )
    }

    /// A snapshot carries an older mark: entries behind it are open again.
    mutating func onReplacedMark(_ newMark: Int64, _ pending: ReplicaFile.PendingSummary) {
        let later = journal?.entries ?? []
        journal = nil
        mark = newMark
        handedOn = newMark
        overlay = SpoolOverlay(incarnation: overlay.incarnation)
        overlay.accept(pending.overlaid + later)
        overlaidThrough = max(overlaidThrough, pending.lastNumber)
        gauge.set(entries: pending.count, bytes: pending.bytes)
    }

    /// What is open for a device: the image, or what the manager said of a device the image lacks,
    /// with the spool laid over it.
    func openWork(for device: DeviceID, tenant: TenantID, at now: Duration) -> OpenWork? {
        let learned = credentials.row(of: device, tenant: tenant, at: now)
        var work = image.openWork(for: device, tenant: tenant)
        if let learned, learned.incarnation != work?.device.incarnation,
            let revision = image.revision
        {
            work = OpenWork(revision: revision, device: learned, items: [])
        }
        guard var result = work else { return nil }
        overlay.apply(to: &result)
        return result
    }
}
#endif
