import ClusterMembership
import ClusterRole
import Synchronization

/// What the coordinator's lease costs and how long a fail-over takes, on the in-memory store: rows
/// of a markdown table. See `../cluster`.
@main
struct LeaseMain {
    static func main() async throws {
        try await renewals()
        try await failover(.standard, rounds: 5)
        let short = try LeaseTiming(
            duration: .seconds(3),
            renew: .seconds(2),
            retry: .milliseconds(500)
        )
        try await failover(short, rounds: 10)
    }

    /// One holder renews as fast as the store answers.
    private static func renewals() async throws {
        let store = InMemoryLeaseStore(ledger: InMemoryLedger(), clock: SystemTimeSource())
        let lease = try await store.acquire(holder: "manager-1", duration: .seconds(15))
        let count = 200_000
        let clock = ContinuousClock()
        let taken = try await clock.measure {
            for _ in 0..<count {
                _ = try await store.renew(
                    holder: "manager-1",
                    epoch: lease.epoch,
                    duration: .seconds(15)
                )
            }
        }
        print("| lease renewals a second, in memory | \(Int(Double(count) / seconds(taken))) |")
    }

    /// A coordinator is gone without a word; another takes over when the lease has run out.
    private static func failover(_ timing: LeaseTiming, rounds: Int) async throws {
        let store = InMemoryLeaseStore(ledger: InMemoryLedger(), clock: SystemTimeSource())
        let gains = AsyncStream.makeStream(of: Int.self)
        var times: [Double] = []
        try await withThrowingTaskGroup(of: Void.self) { group in
            func compete(_ number: Int) -> Task<Void, any Error> {
                let coordinator = Coordinator(
                    CoordinatorConfiguration(
                        node: NodeID(rawValue: "manager-\(number)"),
                        timing: timing
                    ),
                    store: store,
                    onGain: { _ in gains.continuation.yield(number) },
                    onLoss: { _ in }
                )
                return Task { try await coordinator.run() }
            }
            var gained = gains.stream.makeAsyncIterator()
            var running = [0: compete(0)]
            var holder = await gained.next() ?? 0
            for round in 1...rounds {
                running[round] = compete(round)
                // It has looked, and waits.
                try await Task.sleep(for: timing.retry)
                let began = ContinuousClock.now
                running.removeValue(forKey: holder)?.cancel()
                holder = await gained.next() ?? 0
                times.append(seconds(began.duration(to: .now)))
            }
            for task in running.values { task.cancel() }
            group.cancelAll()
        }
        let mean = times.reduce(0, +) / Double(times.count)
        print(
            "| fail-over of a lease of \(timing.duration), renewed within \(timing.renew), "
                + "tried every \(timing.retry) | mean \(rounded(mean)) s, "
                + "at most \(rounded(times.max() ?? 0)) s (\(times.count)) |"
        )
    }

    private static func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }

    private static func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }
}
