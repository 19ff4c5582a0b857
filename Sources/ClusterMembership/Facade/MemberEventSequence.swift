public import ClusterRole

/// What happens to the members, from now on: first each that is there joins, then the news.
///
/// It looks at the registry when it is asked for the next event: every so often, and at each hint. So a
/// reader that is slow holds up nobody and costs nothing but two lists of members: it sees what became of
/// each member, not every step in between. It ends when its task is cancelled.
///
/// ```swift
/// for await event in members.events() {
///     if case .failed(let member) = event { try await takeOver(from: member) }
/// }
/// ```
public struct MemberEventSequence: AsyncSequence, Sendable {
    public typealias Element = MemberEvent
    public typealias Failure = Never

    let members: ClusterMembers
    let clock: any TimeSource
    let interval: Duration
    let hints: (any HintBus)?

    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    /// Walks the events; one task uses it.
    public struct Iterator: AsyncIteratorProtocol {
        private let source: MemberEventSequence
        private let hints: AsyncStream<Revision>?
        private var known: [Member] = []
        private var waiting: ArraySlice<MemberEvent> = []
        private var isFirst = true

        init(_ source: MemberEventSequence) {
            self.source = source
            // From before the first look, so that nothing falls between the two.
            hints = source.hints?.hints()
        }

        public mutating func next() async -> MemberEvent? { await next(isolation: nil) }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async -> MemberEvent? {
            while waiting.isEmpty {
                if !isFirst { await Self.pause(source, hints) }
                if Task.isCancelled { return nil }
                isFirst = false
                // A registry that cannot be read says nothing of the members.
                guard let now = try? await source.members.all() else { continue }
                waiting = MemberChanges.events(from: known, to: now)[...]
                known = now
            }
            return waiting.popFirst()
        }

        /// Until the next look: a hint, or the interval.
        private static func pause(
            _ source: MemberEventSequence,
            _ hints: AsyncStream<Revision>?
        ) async {
            let (clock, interval) = (source.clock, source.interval)
            await withTaskGroup(of: Void.self) { group in
                group.addTask { try? await clock.sleep(for: interval) }
                if let hints {
                    group.addTask {
                        for await _ in hints { return }
                        // A bus that has closed gives no hints.
                        try? await clock.sleep(for: interval)
                    }
                }
                await group.next()
                group.cancelAll()
            }
        }
    }
}

/// One task walks the events.
@available(*, unavailable)
extension MemberEventSequence.Iterator: Sendable {}

extension ClusterMembers {
    /// What happens to the members: joined, left and failed told apart, and what changed in between.
    ///
    /// - Parameters:
    ///   - interval: how often the registry is looked at. 500 ms: a failure is told well within the
    ///     second after it was judged.
    ///   - hints: of new revisions, so that changes are seen at once; nothing is missed without them.
    ///   - clock: counts the interval.
    public func events(
        every interval: Duration = .milliseconds(500),
        hints: (any HintBus)? = nil,
        clock: any TimeSource = SystemTimeSource()
    ) -> MemberEventSequence {
        MemberEventSequence(members: self, clock: clock, interval: interval, hints: hints)
    }
}
