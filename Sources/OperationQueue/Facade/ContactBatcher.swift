public import ClusterRole
internal import DeviceRegistry
public import Logging
internal import OrderedCollections
public import ServiceLifecycle
internal import Synchronization

/// Collects the contacts of plain polls, so that a poll costs no durable commit.
///
/// The newest contact of each device is kept in memory and handed to the inbox in batches: when many
/// wait, when time has passed, and when a commit happens anyway. A crash loses at most the contacts
/// of one ``flushInterval``; they say only when a device was last heard.
public final class ContactBatcher: Service, Sendable {
    private struct Key: Hashable {
        var tenant: TenantID
        var device: DeviceID
    }

    private struct State {
        var waiting: OrderedDictionary<Key, InboxEntry> = [:]
        var dropped = 0
    }

    /// How long a contact waits at most, while ``run()`` runs.
    public let flushInterval: Duration
    /// This many waiting contacts are flushed at once, by the poll that reaches it.
    public static let flushCount = 1_000
    /// More are not kept while the inbox refuses them: memory stays bounded, contacts go first.
    public static let maximumWaiting = 100_000

    private let inbox: any DeviceInbox
    private let clock: any TimeSource
    private let logger: Logger
    private let state = Mutex(State())

    public init(
        inbox: any DeviceInbox,
        clock: any TimeSource = SystemTimeSource(),
        flushInterval: Duration = .seconds(10),
        logger: Logger = Logger(label: "reeve.contacts")
    ) {
        self.inbox = inbox
        self.clock = clock
        self.flushInterval = flushInterval
        self.logger = logger
    }

    /// How many devices' contacts wait.
    public var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// How many contacts were dropped because the inbox took none for long.
    public var droppedCount: Int { state.withLock { $0.dropped } }

    /// Notes that a device was heard and answered.
    func note(_ contact: InboxEntry) async {
        let count = state.withLock { state in
            Self.add(contact, to: &state)
            return state.waiting.count
        }
        // Every flushCount-th only: while the inbox refuses, not every poll has to try.
        if count >= Self.flushCount && count.isMultiple(of: Self.flushCount) {
            await flushOrLog()
        }
    }

    /// Takes contacts to ride along with a commit that happens anyway.
    func take(upTo limit: Int) -> [InboxEntry] {
        state.withLock { state in
            let taken = Array(state.waiting.values.prefix(limit))
            state.waiting.removeFirst(taken.count)
            return taken
        }
    }

    /// Gives back what was taken and could not be committed.
    func putBack(_ contacts: [InboxEntry]) {
        state.withLock { state in
            for contact in contacts { Self.add(contact, to: &state) }
        }
    }

    private static func add(_ contact: InboxEntry, to state: inout State) {
        let key = Key(tenant: contact.identity.tenant, device: contact.identity.device)
        if let known = state.waiting[key] {
            if known.receivedAt <= contact.receivedAt { state.waiting[key] = contact }
        } else if state.waiting.count < maximumWaiting {
            state.waiting[key] = contact
        } else {
            state.dropped += 1
        }
    }

    /// Hands all waiting contacts to the inbox.
    ///
    /// - Throws: ``OperationQueueError``; what was not handed over waits on.
    public func flush() async throws(OperationQueueError) {
        while true {
            let batch = take(upTo: Self.flushCount)
            if batch.isEmpty { return }
            do {
                try await queueCall { try await self.inbox.accept(batch) }
            } catch {
                putBack(batch)
                throw error
            }
        }
    }

    private func flushOrLog() async {
        do {
            try await flush()
        } catch {
            logger.warning("contacts wait", metadata: ["error": "\(error)"])
        }
    }

    /// Flushes every ``flushInterval`` until cancelled or shut down, and once more at the end.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await self.clock.sleep(for: self.flushInterval) } catch { break }
                await self.flushOrLog()
            }
        }
        await flushOrLog()
    }
}
