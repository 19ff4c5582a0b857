package import ClusterRole

/// Decides when a node takes, renews, gives up and loses the coordinator's lease.
///
/// A value: every input is an `on<Event>` with the monotonic time, every output a list of directives.
/// At most one call to the store is under way at a time, and a call that never returns stops nothing but
/// further calls: the deadline is kept by ticks.
package struct CoordinatorCore: Sendable {
    /// What the shell must do, in order.
    package enum Directive: Hashable, Sendable {
        /// Ask the store for the lease; answer with `onLease` or `onStoreFailure`.
        case acquire
        /// Ask the store who has the lease; answer with `onHolder` or `onStoreFailure`.
        case look
        /// Renew the lease of this epoch; answer with `onLease` or `onStoreFailure`.
        case renew(Epoch)
        /// Give the lease back; answer with `onReleased`.
        case release(Epoch)
        /// This node may act for the epoch until the monotonic time; `nil`: for ever.
        case hold(Epoch, until: Duration?)
        /// Mint a capability and run the callback; answer with `onGainHandled`.
        case gained(Epoch)
        /// Revoke the capability at once, then run the callback; answer with `onLossHandled`.
        case lost(Epoch, LeaseLoss)
        /// Call `onTick` after exactly this; earlier schedules are void.
        case scheduleNext(after: Duration)
        /// Call `onTick` after this, lengthened by chance up to ``LeaseTiming/jitterFactor``.
        case scheduleRetry(after: Duration)
        /// All is given back: end.
        case stop
    }

    /// How a call to the store failed.
    package enum StoreFailure: Hashable, Sendable {
        case fenced(current: Epoch)
        case unavailable
    }

    private enum Phase: Hashable, Sendable {
        /// Not the coordinator; asks at the time.
        case standby(askAt: Duration)
        case holding(Holding)
        /// Lost; the callbacks have not come back yet. The epoch, if any, is still to be given back: a
        /// renewal was under way when it was lost.
        case settling(askAt: Duration, release: Epoch?)
        /// Giving the lease up: callbacks have until the time, then it goes back without them.
        case leaving(Epoch?, until: Duration)
        /// The lease is being given back; at the time it goes on, whether or not the store answered.
        case releasing(until: Duration)
        case ended
    }

    private struct Holding: Hashable, Sendable {
        var epoch: Epoch
        /// When this node stops itself; `nil` for a lease that never runs out.
        var deadline: Duration?
        var renewAt: Duration
        /// When the gain callback is overdue; `nil` once it has returned.
        var gainDue: Duration?
    }

    private enum Call: Hashable, Sendable { case acquire, look, renew, release }

    private let node: NodeID
    private let timing: LeaseTiming
    private let callbackLimit: Duration
    /// How long the lease must have been free before this node asks for it.
    private let patience: Duration
    /// Since when it was seen free, without a break.
    private var freeSince: Duration?
    private var isEligible = true
    /// Until then the lease is left to others.
    private var asideUntil: Duration?
    private var phase = Phase.standby(askAt: .zero)
    /// The call the store has not answered.
    private var call: Call?
    private var isShutDown = false
    /// Callbacks begun and not yet returned.
    private var callbacks = 0

    package init(
        node: NodeID,
        timing: LeaseTiming,
        callbackLimit: Duration,
        rank: Int = 0
    ) {
        self.node = node
        self.timing = timing
        self.callbackLimit = callbackLimit
        // Longer than the longest pause between two tries of one that is preferred.
        patience = timing.retry * 1.5 * Double(max(0, rank))
    }

    /// The epoch held, if any.
    package var epoch: Epoch? {
        if case .holding(let holding) = phase { holding.epoch } else { nil }
    }

    package mutating func onStart(at now: Duration) -> [Directive] {
        phase = .standby(askAt: now)
        return onTick(at: now)
    }

    /// Time has passed.
    package mutating func onTick(at now: Duration) -> [Directive] {
        switch phase {
        case .standby(let askAt):
            return ask(notBefore: askAt, at: now)
        case .holding(let holding):
            return tick(holding, at: now)
        case .leaving:
            return leave(at: now)
        case .releasing(let until):
            return now < until ? [.scheduleNext(after: until - now)] : leftBehind(at: now)
        case .settling, .ended:
            return []
        }
    }

    /// The store answered an acquire or a renew that was asked at `askedAt`.
    package mutating func onLease(
        _ lease: Lease,
        askedAt: Duration,
        at now: Duration
    ) -> [Directive] {
        let answered = call
        call = nil
        switch phase {
        case .standby where answered == .renew:
            // Lost meanwhile: take it anew, with a new epoch.
            return onTick(at: now)
        case .standby:
            return considerGain(of: lease, askedAt: askedAt, at: now)
        case .holding(var holding):
            if let end = holding.deadline, now >= end { return lose(holding, .notRenewed, at: now) }
            guard lease.holder == node, lease.epoch == holding.epoch else {
                return lose(holding, .fenced(current: lease.epoch), at: now)
            }
            holding.deadline = deadline(of: lease, askedAt: askedAt)
            holding.renewAt = now + timing.retry
            phase = .holding(holding)
            return [.hold(holding.epoch, until: holding.deadline)] + schedule(at: now)
        case .releasing(let until) where answered == .acquire && lease.holder == node:
            // Shut down while asking: what was gained goes back unused.
            call = .release
            return [.release(lease.epoch), .scheduleNext(after: max(.zero, until - now))]
        case .settling, .leaving, .releasing, .ended:
            return proceed(at: now)
        }
    }

    /// The store told who has the lease: for a node that asks only when nobody preferred does.
    package mutating func onHolder(_ lease: Lease?, at now: Duration) -> [Directive] {
        call = nil
        guard case .standby = phase else { return proceed(at: now) }
        if let lease, lease.holder != node {
            freeSince = nil
            phase = .standby(askAt: now + timing.retry)
            return [.scheduleRetry(after: timing.retry)]
        }
        let since = freeSince ?? now
        freeSince = since
        // Its own from an earlier life is its own again.
        guard lease == nil, now - since < patience else {
            if isAside(at: now) { return onTick(at: now) }
            call = .acquire
            return [.acquire]
        }
        let pause = min(timing.retry, since + patience - now)
        phase = .standby(askAt: now + pause)
        return [.scheduleNext(after: pause)]
    }

    /// The node may coordinate from now on, or may not: it drains, or is in maintenance. If it holds the
    /// lease it hands it over as at a graceful stop.
    package mutating func onEligibility(_ isEligible: Bool, at now: Duration) -> [Directive] {
        self.isEligible = isEligible
        if isEligible {
            guard case .standby = phase else { return [] }
            return onTick(at: now)
        }
        return handOver(at: now)
    }

    /// The node gives the lease up, if it has it, and leaves it to others for a while.
    package mutating func onHandOver(holdOff: Duration, at now: Duration) -> [Directive] {
        asideUntil = now + holdOff
        return handOver(at: now)
    }

    /// The store did not do what it was asked.
    package mutating func onStoreFailure(
        _ failure: StoreFailure,
        at now: Duration
    ) -> [Directive] {
        call = nil
        switch phase {
        case .standby:
            phase = .standby(askAt: now + timing.retry)
            return [.scheduleRetry(after: timing.retry)]
        case .holding(var holding):
            if case .fenced(let current) = failure {
                return lose(holding, .fenced(current: current), at: now)
            }
            holding.renewAt = now + timing.retry
            phase = .holding(holding)
            return tick(holding, at: now)
        case .settling, .leaving, .releasing, .ended:
            return proceed(at: now)
        }
    }

    /// The gain callback returned or threw.
    package mutating func onGainHandled(succeeded: Bool, at now: Duration) -> [Directive] {
        callbacks -= 1
        guard case .holding(var holding) = phase else { return proceed(at: now) }
        if !succeeded { return lose(holding, .gainFailed, at: now) }
        holding.gainDue = nil
        phase = .holding(holding)
        return schedule(at: now)
    }

    /// The loss callback returned.
    package mutating func onLossHandled(at now: Duration) -> [Directive] {
        callbacks -= 1
        return proceed(at: now)
    }

    /// The store took the lease back, or failed to: it runs out then.
    package mutating func onReleased(at now: Duration) -> [Directive] {
        call = nil
        return proceed(at: now)
    }

    /// The node is asked to end. Doing it twice changes nothing.
    package mutating func onShutdown(at now: Duration) -> [Directive] {
        if isShutDown { return [] }
        isShutDown = true
        switch phase {
        case .standby:
            if call == nil || call == .look { return end() }
            phase = .releasing(until: now + timing.retry)
            return [.scheduleNext(after: timing.retry)]
        case .holding(let holding):
            callbacks += 1
            phase = .leaving(holding.epoch, until: now + callbackLimit)
            return [.lost(holding.epoch, .shutdown), .scheduleNext(after: callbackLimit)]
        case .settling(_, let epoch):
            phase = .leaving(epoch, until: now + callbackLimit)
            return [.scheduleNext(after: callbackLimit)]
        case .leaving, .releasing, .ended:
            return []
        }
    }

    // MARK: Steps

    private mutating func considerGain(
        of lease: Lease,
        askedAt: Duration,
        at now: Duration
    ) -> [Directive] {
        let end = deadline(of: lease, askedAt: askedAt)
        if lease.holder == node, isAside(at: now) {
            // It stood aside while it asked: what was gained goes back unused.
            call = .release
            phase = .releasing(until: now + timing.retry)
            return [.release(lease.epoch), .scheduleNext(after: timing.retry)]
        }
        freeSince = nil
        guard lease.holder == node, end.map({ now < $0 }) ?? true else {
            phase = .standby(askAt: now + timing.retry)
            return [.scheduleRetry(after: timing.retry)]
        }
        phase = .holding(
            Holding(
                epoch: lease.epoch,
                deadline: end,
                renewAt: now + timing.retry,
                gainDue: now + callbackLimit
            )
        )
        callbacks += 1
        return [.hold(lease.epoch, until: end), .gained(lease.epoch)] + schedule(at: now)
    }

    private func isAside(at now: Duration) -> Bool {
        !isEligible || asideUntil.map { now < $0 } ?? false
    }

    /// Asks for the lease, or whether it is free, when it is time and this node may.
    private mutating func ask(notBefore askAt: Duration, at now: Duration) -> [Directive] {
        if call != nil || !isEligible { return [] }
        let askAt = max(askAt, asideUntil ?? askAt)
        if now < askAt { return [.scheduleRetry(after: askAt - now)] }
        asideUntil = nil
        call = patience > .zero ? .look : .acquire
        return patience > .zero ? [.look] : [.acquire]
    }

    private mutating func handOver(at now: Duration) -> [Directive] {
        guard case .holding(let holding) = phase else { return [] }
        callbacks += 1
        phase = .leaving(holding.epoch, until: now + callbackLimit)
        return [.lost(holding.epoch, .handedOver), .scheduleNext(after: callbackLimit)]
    }

    private mutating func tick(_ holding: Holding, at now: Duration) -> [Directive] {
        if let end = holding.deadline, now >= end { return lose(holding, .notRenewed, at: now) }
        if let due = holding.gainDue, now >= due { return lose(holding, .gainStuck, at: now) }
        guard holding.deadline != nil, now >= holding.renewAt, call == nil else {
            return schedule(at: now)
        }
        call = .renew
        return [.renew(holding.epoch)] + schedule(at: now)
    }

    private mutating func lose(
        _ holding: Holding,
        _ reason: LeaseLoss,
        at now: Duration
    ) -> [Directive] {
        callbacks += 1
        let mayStillHold = reason == .gainFailed || reason == .gainStuck
        phase = .settling(askAt: now + timing.retry, release: mayStillHold ? holding.epoch : nil)
        return [.lost(holding.epoch, reason)] + proceed(at: now)
    }

    /// A callback or a call has ended: goes on to whatever waited for it.
    private mutating func proceed(at now: Duration) -> [Directive] {
        switch phase {
        case .settling(let askAt, let epoch?):
            if call != nil { return [] }
            call = .release
            phase = .settling(askAt: askAt, release: nil)
            return [.release(epoch)]
        case .settling(let askAt, nil):
            guard callbacks == 0 else { return [] }
            phase = .standby(askAt: max(now, askAt))
            return onTick(at: now)
        case .standby: return onTick(at: now)
        case .leaving: return leave(at: now)
        case .releasing: return call == nil ? leftBehind(at: now) : []
        case .holding, .ended: return []
        }
    }

    /// Gives the lease back once the callbacks are done or their time is over.
    private mutating func leave(at now: Duration) -> [Directive] {
        guard case .leaving(let epoch, let until) = phase else { return [] }
        if (callbacks > 0 || call != nil) && now < until {
            return [.scheduleNext(after: until - now)]
        }
        guard let epoch, call == nil else {
            if isShutDown { return end() }
            // The store does not answer; the lease goes back when it does, or runs out.
            phase = .settling(askAt: now + timing.retry, release: epoch)
            return []
        }
        call = .release
        phase = .releasing(until: now + timing.retry)
        return [.release(epoch), .scheduleNext(after: timing.retry)]
    }

    /// The lease is given back, or runs out: ends, or stands by again.
    private mutating func leftBehind(at now: Duration) -> [Directive] {
        if isShutDown { return end() }
        phase = .settling(askAt: now + timing.retry, release: nil)
        return proceed(at: now)
    }

    private mutating func end() -> [Directive] {
        phase = .ended
        return [.stop]
    }

    private func deadline(of lease: Lease, askedAt: Duration) -> Duration? {
        lease.isUnlimited ? nil : askedAt + min(timing.renew, lease.remaining)
    }

    private func schedule(at now: Duration) -> [Directive] {
        guard case .holding(let holding) = phase else { return [] }
        var next = holding.deadline
        if let end = holding.deadline, call == nil { next = min(end, holding.renewAt) }
        if let due = holding.gainDue { next = next.map { min($0, due) } ?? due }
        return next.map { [.scheduleNext(after: max(.zero, $0 - now))] } ?? []
    }
}
