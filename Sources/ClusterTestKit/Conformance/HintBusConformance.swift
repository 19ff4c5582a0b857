public import ClusterMembership
internal import ClusterRole
internal import Synchronization

/// The contract of `HintBus`: hints may be lost, repeated and reordered, but never invented, and a slow
/// reader does not make them pile up.
public struct HintBusConformance: Sendable {
    private let makeBus: @Sendable () async throws -> any HintBus
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeBus: makes a bus for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeBus: @escaping @Sendable () async throws -> any HintBus
    ) {
        self.timeLimit = timeLimit
        self.makeBus = makeBus
    }

    private struct Scene: Sendable {
        let bus: any HintBus
        let check: ConformanceCheck
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        let makeBus = makeBus
        return try await runConformance(
            "HintBus",
            [
                ConformanceStep("a hint that is repeated arrives", Self.arrives),
                ConformanceStep("every reader hears", Self.reachesEveryReader),
                ConformanceStep("hints do not pile up for a slow reader", Self.keepsTheNewest),
                ConformanceStep("publishing without a reader is harmless", Self.needsNoReader),
            ],
            timeLimit: timeLimit,
            make: { Scene(bus: try await makeBus(), check: $0) },
            close: { _ in }
        )
    }

    private static func hint(_ number: Int64) -> Revision {
        Revision(history: HistoryID(bits: 7), number: number)
    }

    private final class Flag: Sendable {
        private let value = Mutex(false)
        var isSet: Bool { value.withLock { $0 } }
        func set() { value.withLock { $0 = true } }
    }

    /// Publishes a hint again and again while `read` reads.
    private static func repeating<Result: Sendable>(
        _ revision: Revision,
        on bus: any HintBus,
        while read: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let isDone = Flag()
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                defer { isDone.set() }
                return try await read()
            }
            group.addTask {
                while !isDone.isSet {
                    try Task.checkCancellation()
                    bus.publish(revision)
                    await Task.yield()
                }
                return nil
            }
            var result: Result?
            for try await value in group where value != nil { result = value }
            guard let result else { throw CancellationError() }
            return result
        }
    }

    private static func arrives(_ scene: Scene) async throws {
        let hints = scene.bus.hints()
        let heard = try await repeating(hint(5), on: scene.bus) {
            var iterator = hints.makeAsyncIterator()
            return await iterator.next()
        }
        try scene.check.equal(heard, hint(5), "the hint heard")
    }

    private static func reachesEveryReader(_ scene: Scene) async throws {
        let readers = (0..<3).map { _ in scene.bus.hints() }
        let heard = try await repeating(hint(9), on: scene.bus) {
            var heard: [Revision?] = []
            for reader in readers {
                var iterator = reader.makeAsyncIterator()
                heard.append(await iterator.next())
            }
            return heard
        }
        try scene.check.equal(heard, [hint(9), hint(9), hint(9)], "the hints heard")
    }

    private static func keepsTheNewest(_ scene: Scene) async throws {
        let published: Int64 = 10_000
        let marker = hint(published + 1)
        let hints = scene.bus.hints()
        for number in 1...published { scene.bus.publish(hint(number)) }
        let heard = try await repeating(marker, on: scene.bus) {
            var heard: [Revision] = []
            for await revision in hints {
                if revision == marker { break }
                heard.append(revision)
            }
            return heard
        }
        try scene.check.isTrue(
            heard.allSatisfy { (1...published).contains($0.number) },
            "only hints that were published arrive"
        )
        // A bus over a network may still be delivering: but not all that was ever said.
        try scene.check.isTrue(
            heard.count < Int(published) / 2,
            "a slow reader gets the newest; \(heard.count) of \(published) had piled up"
        )
    }

    private static func needsNoReader(_ scene: Scene) async throws {
        for number in 1...100 { scene.bus.publish(hint(Int64(number))) }
    }
}
