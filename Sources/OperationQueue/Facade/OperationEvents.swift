public import ClusterRole
internal import ServiceLifecycle

/// Reads what happened to activities and executions, from a position on: once each, in order, nothing left
/// out.
///
/// ```swift
/// for try await event in manager.events.stream(after: position) {
///     show(event)
///     position = event.position          // keep it: the next stream goes on from here
/// }
/// ```
public struct OperationEvents: Sendable {
    private let reader: any EventReader
    private let clock: any TimeSource
    private let interval: Duration
    private let hints: (@Sendable () -> AsyncStream<Revision>)?

    /// The most events of one page.
    public static let maximumPage = 1_000

    /// - Parameters:
    ///   - reader: the log.
    ///   - clock: tells how long to wait; the system's unless a test moves it.
    ///   - interval: how often a stream looks by itself when nothing new was there.
    ///   - hints: makes a stream of "revision N exists" (`HintBus.hints`), so that a stream looks at once;
    ///     a hint may be lost, which costs at most the interval.
    public init(
        reader: any EventReader,
        clock: any TimeSource = SystemTimeSource(),
        interval: Duration = .seconds(1),
        hints: (@Sendable () -> AsyncStream<Revision>)? = nil
    ) {
        self.reader = reader
        self.clock = clock
        self.interval = interval
        self.hints = hints
    }

    /// The position behind everything that has happened.
    public func newest() async throws(OperationQueueError) -> EventPosition {
        EventPosition(try await queueCall { try await self.reader.currentRevision() })
    }

    /// The position behind everything that was committed before `time`, or a little earlier: reading on
    /// from it gives all that was updated since. If the log does not reach back so far, its beginning.
    public func position(before time: Timestamp) async throws(OperationQueueError) -> EventPosition
    {
        EventPosition(try await queueCall { try await self.reader.revision(before: time) })
    }

    /// The next events behind a position.
    ///
    /// - Parameters:
    ///   - position: what has been seen; events after it come.
    ///   - filter: which events are wanted.
    ///   - limit: at most so many, at most ``maximumPage``. A page may hold fewer, or none, although more
    ///     follow: the work of one call is bounded.
    ///   - tenant: whose events.
    /// - Throws: ``OperationQueueError`` with code `eventsGone` when the log no longer reaches back to the
    ///   position, or it is of another history.
    public func page(
        after position: EventPosition,
        matching filter: EventFilter = .everything,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> OperationEventPage {
        let limit = max(1, min(limit, Self.maximumPage))
        let page = try await queueCall {
            try await self.reader.events(
                after: position.readAfter,
                limit: limit,
                tenant: tenant
            )
        }
        var result = OperationEventPage(
            events: [],
            next: EventPosition(page.reached),
            isLast: page.isLast
        )
        // A position within a revision that holds no more events of this tenant stays behind it.
        if page.reached.number < position.revision.number { result.next = position }
        for event in page.events where position.precedes(event) && filter.matches(event) {
            if result.events.count == limit {
                result.next = result.events[limit - 1].position
                result.isLast = false
                break
            }
            result.events.append(event)
        }
        return result
    }

    /// As ``page(after:matching:limit:tenant:)``, but waits up to `wait` until there is an event that is
    /// wanted: a long poll. A server that shuts down gracefully ends the wait.
    ///
    /// - Returns: the page found; without events if the wait ended first.
    public func page(
        after position: EventPosition,
        matching filter: EventFilter = .everything,
        limit: Int = 100,
        tenant: TenantID = .standard,
        waitingUpTo wait: Duration
    ) async throws(OperationQueueError) -> OperationEventPage {
        let deadline = clock.monotonic() + wait
        var position = position
        while true {
            let news = hints?()
            let page = try await self.page(
                after: position,
                matching: filter,
                limit: limit,
                tenant: tenant
            )
            position = page.next
            let left = deadline - clock.monotonic()
            if !page.events.isEmpty || left <= .zero { return page }
            if Task.isCancelled || Task.isShuttingDownGracefully { return page }
            if page.isLast { await waitForNews(news, upTo: min(interval, left)) }
        }
    }

    /// Events behind a position, without end: it waits for what has not happened yet.
    ///
    /// Each iterator reads for itself, a page at a time, and only as fast as it is asked. It throws
    /// `CancellationError` when its task is cancelled, and ends when the process shuts down gracefully.
    ///
    /// - Parameters:
    ///   - position: what has been seen.
    ///   - filter: which events are wanted.
    ///   - tenant: whose events.
    public func stream(
        after position: EventPosition,
        matching filter: EventFilter = .everything,
        tenant: TenantID = .standard
    ) -> OperationEventStream {
        OperationEventStream(events: self, position: position, filter: filter, tenant: tenant)
    }

    /// Returns at the next hint, after `limit`, when cancelled, or when the process shuts down.
    func waitForNews(_ news: AsyncStream<Revision>?, upTo limit: Duration? = nil) async {
        let limit = limit ?? interval
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { race in
                race.addTask { try? await clock.sleep(for: limit) }
                if let news {
                    race.addTask {
                        for await _ in news { return }
                        // A bus that has closed hints no more: the interval alone is left.
                        try? await clock.sleep(for: limit)
                    }
                }
                await race.next()
                race.cancelAll()
            }
        }
    }

    /// Subscribes to hints, before a read whose outcome may be to wait for one.
    func subscribe() -> AsyncStream<Revision>? { hints?() }
}

/// A page of events, with the place to go on from.
public struct OperationEventPage: Hashable, Sendable {
    public var events: [OperationEvent]
    /// Pass it as `after` for what follows, now or later.
    public var next: EventPosition
    /// Whether there was nothing behind it when it was read.
    public var isLast: Bool

    public init(events: [OperationEvent], next: EventPosition, isLast: Bool) {
        self.events = events
        self.next = next
        self.isLast = isLast
    }
}

/// Events without end; see ``OperationEvents/stream(after:matching:tenant:)``.
public struct OperationEventStream: AsyncSequence, Sendable {
    public typealias Element = OperationEvent

    let events: OperationEvents
    let position: EventPosition
    let filter: EventFilter
    let tenant: TenantID

    public func makeAsyncIterator() -> Iterator { Iterator(stream: self, position: position) }

    /// Reads pages as they are asked for.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        private let stream: OperationEventStream
        private var position: EventPosition
        private var waiting: ArraySlice<OperationEvent> = []

        init(stream: OperationEventStream, position: EventPosition) {
            self.stream = stream
            self.position = position
        }

        /// - Throws: ``OperationQueueError``, with code `eventsGone` when the log was cut while the reader
        ///   was away; `CancellationError`.
        public mutating func next() async throws -> OperationEvent? {
            while true {
                if let event = waiting.popFirst() { return event }
                try Task.checkCancellation()
                if Task.isShuttingDownGracefully { return nil }
                let news = stream.events.subscribe()
                let page = try await stream.events.page(
                    after: position,
                    matching: stream.filter,
                    limit: OperationEvents.maximumPage,
                    tenant: stream.tenant
                )
                position = page.next
                waiting = page.events[...]
                if waiting.isEmpty && page.isLast { await stream.events.waitForNews(news) }
            }
        }
    }
}
