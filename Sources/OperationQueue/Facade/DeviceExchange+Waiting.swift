internal import ClusterRole
internal import DeviceRegistry
internal import Synchronization

/// What one look at a device's open work came to.
struct ExchangeLook: Sendable {
    var answer: ExchangeAnswer
    /// Whether there is nothing for the device, so that it may wait for something.
    var mayWait: Bool
    /// When waiting work is offered again, if any waits.
    var nextOffer: Timestamp?

    init(_ answer: ExchangeAnswer, mayWait: Bool = false, nextOffer: Timestamp? = nil) {
        self.answer = answer
        self.mayWait = mayWait
        self.nextOffer = nextOffer
    }
}

/// What the exchanges of one node have in common: who waits, and who comes how often.
final class ExchangeTraffic: Sendable {
    /// `nil` where nothing would end a wait.
    let waiters: WorkWaiters?
    /// `nil` inside: everybody comes as often as they like. An optional lock would stop the process:
    /// with Swift 6.3, `lock?.withLock` calls a lock that is not there.
    private let rates: Mutex<DeviceRates?>
    private let uploads = Mutex(0)
    let forecast = PollForecast()
    private let maximumUploads: Int

    init(limits: ExchangeLimits, signals: (any WorkSignals)?) {
        waiters = signals == nil ? nil : WorkWaiters(limit: limits.waiters)
        maximumUploads = limits.uploads
        rates = Mutex(
            limits.exchangesPerMinute.map {
                DeviceRates(
                    perMinute: $0,
                    burst: limits.exchangeBurst,
                    capacity: limits.countedDevices
                )
            }
        )
        signals?.observeWork { [weak waiters] in waiters?.signal($0) }
    }

    /// - Throws: ``OperationQueueError`` with code `tooManyExchanges`.
    func admit(
        _ device: DeviceIdentity,
        isReport: Bool,
        at now: Duration
    ) throws(OperationQueueError) {
        let key = ConcernedDevice(tenant: device.tenant, device: device.device)
        let wait = rates.withLock { $0?.onCall(of: key, isReport: isReport, at: now) }
        guard let wait = wait ?? nil else { return }
        throw OperationQueueError(
            .tooManyExchanges,
            "The device \(device.device) comes more often than it may. Nothing was taken: send the same "
                + "again later, and poll when pollAfter says.",
            retryAfter: wait
        )
    }

    /// Runs one upload in a place of its own.
    ///
    /// - Throws: ``OperationQueueError`` with code `tooManyUploads`, or what `body` throws.
    func upload<Value>(
        _ body: () async throws(OperationQueueError) -> Value
    ) async throws(OperationQueueError) -> Value {
        let isIn = uploads.withLock { count in
            guard count < maximumUploads else { return false }
            count += 1
            return true
        }
        guard isIn else {
            throw OperationQueueError(
                .tooManyUploads,
                "This node takes \(maximumUploads) large results at once. Send it again later.",
                retryAfter: .seconds(1)
            )
        }
        defer { uploads.withLock { $0 -= 1 } }
        return try await body()
    }
}

/// Whether polls mostly find work at present. A poll that will find some is best read in the transaction
/// that hands it out; one that will not is best read beside the writer. A wrong guess costs time only.
final class PollForecast: Sendable {
    /// The part of the newest polls that found work, of ``whole``: each moves it by a sixteenth.
    private let found = Atomic<Int>(0)
    private static let whole = 1_024

    /// Whether more than half of them did.
    var expectsWork: Bool { found.load(ordering: .relaxed) > Self.whole / 2 }

    /// Polls at the same time may overwrite each other's: it is a guess.
    func onPoll(hasWork: Bool) {
        let present = found.load(ordering: .relaxed)
        let next = present - present / 16 + (hasWork ? Self.whole / 16 : 0)
        if next != present { found.store(next, ordering: .relaxed) }
    }
}

extension DeviceExchange {
    /// How many exchanges wait for work now.
    public var waitingCount: Int { traffic.waiters?.count ?? 0 }

    /// A long poll.
    func answerOnceThereIsWork(
        _ device: DeviceIdentity,
        _ report: ExchangeReport
    ) async throws(OperationQueueError) -> ExchangeAnswer {
        let concerned = ConcernedDevice(tenant: device.tenant, device: device.device)
        guard let waiters = traffic.waiters, let place = waiters.enter(concerned) else {
            return try await look(for: device, report).answer
        }
        defer { waiters.leave(place) }
        let clock = settings.clock
        let end = clock.monotonic() + min(report.wait, limits.wait)
        var isHeard = true
        while true {
            waiters.arm(place)
            let look = try await look(for: device, report, isHeard: isHeard)
            let lookedAt = clock.monotonic()
            guard look.mayWait, lookedAt < end else { return look.answer }
            isHeard = false
            var wait = end - lookedAt
            if let next = look.nextOffer {
                wait = min(wait, max(limits.lookInterval, next - clock.now()))
            }
            switch await waiters.wait(at: place, for: wait, clock: clock) {
            case .timedOut: break
            case .signalled:
                // Signals that come within the interval are found by the same look.
                let pause = limits.lookInterval - (clock.monotonic() - lookedAt)
                if pause > .zero { try await rest(pause) }
            case .stopped: return look.answer
            case .cancelled: throw OperationQueueError.callerIsGone
            }
            isHeard = clock.monotonic() >= end
        }
    }

    private func rest(_ pause: Duration) async throws(OperationQueueError) {
        do {
            try await settings.clock.sleep(for: pause)
        } catch {
            throw .callerIsGone
        }
    }
}

extension OperationQueueError {
    /// A device that went away while it waited: nobody reads this.
    fileprivate static var callerIsGone: OperationQueueError {
        OperationQueueError(
            .cancelled,
            "The caller went away while it waited. Poll again."
        )
    }
}
