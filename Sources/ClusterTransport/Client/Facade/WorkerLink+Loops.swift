#if Server
internal import ClusterMembership
internal import ClusterRole
internal import Logging
internal import Metrics
internal import OperationQueue
internal import Synchronization

extension ClusterLinkError {
    /// The manager does not count this node among the members.
    fileprivate var isNotJoined: Bool {
        code.rawValue == ClusterMembershipError.Code.notJoined.rawValue
    }
}

/// The loops. Each ends when its task is cancelled, and survives everything else.
extension WorkerLink {
    /// Follows the manager's revisions: a snapshot first, or whenever the manager says so, then
    /// changes.
    func follow() async {
        var backoff = newBackoff()
        var cursor: ReplicaCursor?
        var isGreeted = false
        var answer: PageAnswer?
        while !Task.isCancelled {
            var given: String?
            do {
                if !isGreeted {
                    try await hello()
                    isGreeted = true
                }
                let before = replica.position.revision
                let saying = answer
                answer = nil
                let (page, nonce) = try await client.page(
                    after: before,
                    cursor: cursor,
                    limit: configuration.pageRows,
                    wait: configuration.pollWait,
                    answering: saying
                )
                given = nonce
                try await replica.heard(from: page.epoch)
                try await replica.apply(page)
                answer = nonce.map { .taken(nonce: $0) }
                given = nil
                cursor = page.next
                if page.next == nil, page.revision != before { hints?.publish(page.revision) }
                note(page)
                succeeded()
                backoff.onSuccess()
                if page.content == .delta, !page.rows.isEmpty {
                    try await time.sleep(for: configuration.pagePause)
                }
            } catch is CancellationError {
                return
            } catch {
                if Task.isCancelled { return }
                // A snapshot begins anew: its cursor may be another manager's.
                cursor = nil
                isGreeted = false
                answer = given.map {
                    .refused(nonce: $0, code: (error as? any CodedError)?.codeName ?? "unknown")
                }
                failed("follow", error)
                await pause(backoff.onFailure(retryAfter: retryAfter(of: error)))
            }
        }
    }

    private func note(_ page: ReplicaPage) {
        Counter(label: "reeve_link_rows").increment(by: page.rows.count)
        state.withLock { state in
            if let latest = state.latest, latest.covers(page.revision) { return }
            state.latest = page.revision
        }
        if page.content == .snapshotBegins {
            logger.info(
                "A snapshot begins",
                metadata: ["revision": "\(page.revision)", "rows": "\(page.rows.count)"]
            )
        }
    }

    /// Hands the spool on whenever something is in it.
    func drain() async {
        var backoff = newBackoff()
        // The first signal is our own: entries of an earlier life wait already.
        let signals = replica.spoolSignals()
        var iterator = signals.makeAsyncIterator()
        while !Task.isCancelled {
            do {
                while try await handOnOnce() {
                    backoff.onSuccess()
                    succeeded()
                }
                guard await iterator.next() != nil else { return }
            } catch is CancellationError {
                return
            } catch {
                if Task.isCancelled { return }
                failed("drain", error)
                await pause(backoff.onFailure(retryAfter: retryAfter(of: error)))
            }
        }
    }

    /// Says that this node is there. The hello does at first, so the loop begins by waiting.
    func sayAlive() async {
        while !Task.isCancelled {
            do {
                let asked = state.withLock { $0.heartbeatEvery }
                let interval = min(asked ?? .seconds(60), configuration.heartbeatInterval)
                try await time.sleep(for: random.jittered(interval, by: 0.1))
                try await take(client.heartbeat(heartbeat(.alive)))
                succeeded()
            } catch let error as ClusterLinkError where error.isNotJoined {
                await joinAgain()
            } catch is CancellationError {
                return
            } catch {
                if Task.isCancelled { return }
                failed("heartbeat", error)
            }
        }
    }

    /// The manager took this node for dead, or has forgotten it: it was cut off for long, or the manager
    /// is another. It is a member again at once, with all it has; nothing else is begun anew.
    private func joinAgain() async {
        do {
            try await hello()
            logger.info("Joined again", metadata: ["node": "\(client.node)"])
            succeeded()
        } catch {
            if !Task.isCancelled { failed("rejoin", error) }
        }
    }

    private func newBackoff() -> Backoff {
        Backoff(initial: configuration.initialBackoff, maximum: configuration.maximumBackoff)
    }

    private func retryAfter(of error: any Error) -> Duration? {
        (error as? any CodedError)?.retryAfter
    }

    /// Waits, jittered so that a fleet does not come back in step. A cancellation ends it.
    private func pause(_ duration: Duration) async {
        try? await time.sleep(for: random.jittered(duration, by: 0.3))
    }
}
#endif
