#if SQLite
internal import Foundation
internal import Synchronization

/// Many callers, one writer: everything that waits at once goes into one transaction, and a caller
/// resumes when it is on disk.
///
/// Where several calls share a transaction, one that throws takes back only what it did itself. Calls
/// that may be repeated are run without savepoints, for which SQLite copies every page before it is
/// changed: should one throw after it has changed something, the transaction is taken back and all of
/// its calls are run again, each in a savepoint, as calls that may not be repeated are from the start.
///
/// A caller who is alone commits on its own thread, where it waits for the disk as it would elsewhere: to
/// wake another thread and be woken by it costs as much as the statements. Who comes meanwhile waits
/// for the next transaction, which is begun on the writer's queue.
///
/// Calls run in the order in which they were made. An I/O error in the writer poisons the file: what is
/// on disk is unknown after a failed fsync, so every later call throws `poisoned` until the file is
/// opened again and SQLite has recovered its log.
package final class GroupCommitter: Sendable {
    private struct Outcome {
        let failure: (any Error)?
        /// Resumes the caller: with the error given, else with what its body returned or threw.
        let resume: @Sendable ((any Error)?) -> Void
    }

    private struct Call: Sendable {
        let isRepeatable: Bool
        let run: @Sendable (SQLConnection) -> Outcome
        let refuse: @Sendable (any Error) -> Void
    }

    private enum Condition: Sendable {
        case open
        case poisoned(String)
        case closed
    }

    private struct State: Sendable {
        var waiting: [Call] = []
        var isDraining = false
        /// How many calls the newest transaction had.
        var newestBatch = 0
        var condition = Condition.open
        var commits = 0
    }

    private let state = Mutex(State())
    private let writer: ConfinedConnection
    private let options: DatabaseFileOptions
    private let log: WriteAheadLog
    /// Where there is one processor, a caller that does not give its thread away keeps all others from
    /// joining its transaction.
    private let maySpareThread = ProcessInfo.processInfo.activeProcessorCount > 1

    init(writer: ConfinedConnection, log: WriteAheadLog, options: DatabaseFileOptions) {
        self.writer = writer
        self.log = log
        self.options = options
    }

    /// How many transactions were committed: many calls share one.
    package var commits: Int { state.withLock { $0.commits } }

    /// Runs `body` in the next transaction; returns when that is durable.
    ///
    /// - Parameters:
    ///   - isRepeatable: whether `body` may be run a second time, after everything it did on the
    ///     connection was taken back, because another call of its transaction failed. Only the last run
    ///     counts.
    ///   - body: runs on the writer's queue, or on the thread of a caller who is alone; it must not block.
    /// - Throws: what `body` throws, after taking back what it did; ``SQLiteStorageError`` with
    ///   `overloaded`, `poisoned`, `closed`, `full` or `io`. In each case nothing of the call was
    ///   stored, except that after `io` and `poisoned` it is unknown.
    package func write<Result: Sendable>(
        isRepeatable: Bool = false,
        _ body: @escaping @Sendable (SQLConnection) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            submit(
                Call(
                    isRepeatable: isRepeatable,
                    run: { connection in
                        let result = Swift.Result { try body(connection) }
                        var failure: (any Error)?
                        if case .failure(let error) = result { failure = error }
                        return Outcome(failure: failure) { error in
                            if let error {
                                continuation.resume(throwing: error)
                            } else {
                                continuation.resume(with: result)
                            }
                        }
                    },
                    refuse: { continuation.resume(throwing: $0) }
                )
            )
        }
    }

    private func submit(_ call: Call) {
        let (refusal, start): ((any Error)?, Start) = state.withLock { state in
            if let refusal = self.refusal(in: state) { return (refusal, .underWay) }
            guard state.waiting.count < options.maximumWaitingCalls else {
                return (
                    SQLiteStorageError(
                        .overloaded,
                        "\(state.waiting.count) calls wait for the writer. Slow down, and repeat.",
                        retryAfter: .seconds(1)
                    ), .underWay
                )
            }
            state.waiting.append(call)
            if state.isDraining { return (nil, .underWay) }
            state.isDraining = true
            return (nil, maySpareThread && state.newestBatch == 1 ? .here : .onQueue)
        }
        if let refusal { return call.refuse(refusal) }
        switch start {
        case .underWay: return
        case .here:
            let isOver: Void? = writer.performIfFree { connection in
                if let batch = takeBatch() { commit(batch, on: connection) }
            }
            // Moving the log into the database takes long: that is the queue's.
            if isOver == nil || isLogLong || !isDone() { writer.perform { self.drain($0) } }
        case .onQueue: writer.perform { self.drain($0) }
        }
    }

    private var isLogLong: Bool { log.pageCount >= options.checkpointPages }

    /// Where the next transaction is begun.
    private enum Start {
        /// Nowhere: it will be, when the one under way is over.
        case underWay
        /// On the caller's thread.
        case here
        case onQueue
    }

    /// Whether nobody waits; then the next caller begins.
    private func isDone() -> Bool {
        state.withLock { state in
            if state.waiting.isEmpty { state.isDraining = false }
            return state.waiting.isEmpty
        }
    }

    /// What goes into the next transaction; `nil` if nobody waits.
    private func takeBatch() -> [Call]? {
        state.withLock { state in
            guard !state.waiting.isEmpty else { return nil }
            var batch = state.waiting
            if batch.count <= options.maximumCallsInCommit {
                state.waiting = []
            } else {
                state.waiting.removeFirst(options.maximumCallsInCommit)
                batch.removeSubrange(options.maximumCallsInCommit...)
            }
            state.newestBatch = batch.count
            return batch
        }
    }

    private func refusal(in state: State) -> (any Error)? {
        switch state.condition {
        case .open: nil
        case .closed: SQLiteStorageError.isClosed
        case .poisoned(let reason):
            SQLiteStorageError(
                .poisoned,
                "An I/O error struck the file (\(reason)); what is on disk is unknown. Check the disk, "
                    + "then start this node again."
            )
        }
    }

    /// - Throws: `poisoned` or `closed`.
    func requireOpen() throws {
        if let refusal = state.withLock({ refusal(in: $0) }) { throw refusal }
    }

    /// Refuses calls from now on; what waits is still committed.
    ///
    /// - Returns: whether this call was the first.
    func beginClosing() -> Bool {
        state.withLock { state in
            if case .closed = state.condition { return false }
            state.condition = .closed
            return true
        }
    }

    private func poison(_ error: any Error) {
        let abandoned = state.withLock { state in
            if case .open = state.condition { state.condition = .poisoned("\(error)") }
            defer { state.waiting = [] }
            return state.waiting
        }
        for call in abandoned { call.refuse(error) }
    }

    // MARK: With the writer's connection

    private func drain(_ connection: SQLConnection?) {
        while true {
            if let connection { keepLogShort(connection) }
            guard let batch = takeBatch() else {
                if isDone() { return }
                continue
            }
            guard let connection else {
                for call in batch { call.refuse(SQLiteStorageError.isClosed) }
                continue
            }
            commit(batch, on: connection)
        }
    }

    static let begin = StatementText("BEGIN IMMEDIATE")
    static let beginReading = StatementText("BEGIN")
    static let end = StatementText("COMMIT")
    private static let takeBack = StatementText("ROLLBACK")
    private static let mark = StatementText("SAVEPOINT call")
    private static let takeBackToMark = StatementText("ROLLBACK TO call")
    private static let unmark = StatementText("RELEASE call")

    private func commit(_ batch: [Call], on connection: SQLConnection) {
        var outcomes: [Outcome] = []
        outcomes.reserveCapacity(batch.count)
        do {
            try begin(on: connection)
            if batch.count == 1 {
                outcomes.append(batch[0].run(connection))
                if let failure = outcomes[0].failure {
                    try requireRecoverable(failure, on: connection)
                    try takeBack(on: connection)
                    return outcomes[0].resume(nil)
                }
            } else if try !runTogether(batch, on: connection, into: &outcomes) {
                for call in batch { outcomes.append(try runInSavepoint(call, on: connection)) }
            }
            try connection.storeShared()
            try options.commitFault?()
            try connection.run(Self.end)
        } catch {
            if connection.isInTransaction { try? connection.run(Self.takeBack) }
            connection.forgetUncommitted()
            // First, so that a caller who tries again at once meets it.
            if (error as? SQLiteStorageError)?.code == .io { poison(error) }
            for outcome in outcomes { outcome.resume(error) }
            for call in batch.dropFirst(outcomes.count) { call.refuse(error) }
            return
        }
        state.withLock { $0.commits += 1 }
        for outcome in outcomes { outcome.resume(nil) }
    }

    private func keepLogShort(_ connection: SQLConnection) {
        guard isLogLong else { return }
        do {
            try log.checkpoint(on: connection)
        } catch {
            // On a full disk the log stays as it is, with all that is in it; the next commit tries to
            // move it again.
            if (error as? SQLiteStorageError)?.code != .full { poison(error) }
        }
    }

    private func begin(on connection: SQLConnection) throws {
        try connection.run(Self.begin)
        connection.shared = SharedRows(numbers: connection.committedNumbers)
    }

    private func takeBack(on connection: SQLConnection) throws {
        connection.forgetUncommitted()
        try connection.run(Self.takeBack)
    }

    /// Runs calls that may be repeated, without savepoints.
    ///
    /// - Returns: `false` if that is not possible: a new transaction has begun then, in which nothing has
    ///   been done.
    private func runTogether(
        _ batch: [Call],
        on connection: SQLConnection,
        into outcomes: inout [Outcome]
    ) throws -> Bool {
        guard batch.allSatisfy(\.isRepeatable) else { return false }
        for call in batch {
            let before = connection.changesSoFar
            let outcome = call.run(connection)
            if let failure = outcome.failure {
                try requireRecoverable(failure, on: connection)
                if connection.changesSoFar != before {
                    outcomes.removeAll(keepingCapacity: true)
                    try takeBack(on: connection)
                    try begin(on: connection)
                    return false
                }
            }
            outcomes.append(outcome)
        }
        return true
    }

    private func runInSavepoint(_ call: Call, on connection: SQLConnection) throws -> Outcome {
        let shared = connection.shared
        try connection.run(Self.mark)
        let outcome = call.run(connection)
        if let failure = outcome.failure {
            try requireRecoverable(failure, on: connection)
            try connection.run(Self.takeBackToMark)
            connection.forgetUncommitted()
            connection.shared = shared
        }
        try connection.run(Self.unmark)
        return outcome
    }

    /// - Throws: `failure`, if it ended the whole transaction. Some errors (I/O, disk full) make SQLite
    ///   take it back.
    private func requireRecoverable(_ failure: any Error, on connection: SQLConnection) throws {
        guard connection.isInTransaction else { throw failure }
        if let failure = failure as? SQLiteStorageError, failure.code == .io { throw failure }
    }
}
#endif
