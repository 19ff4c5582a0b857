public import ClusterMembership
internal import ClusterRole
internal import Synchronization

/// A bus as ``HintBusConformance`` takes it.
public struct HintBusUnderTest: Sendable {
    public var bus: any HintBus
    /// Called once the step is over.
    public var close: @Sendable () async throws -> Void = {}

    public init(_ bus: any HintBus) { self.bus = bus }
}

struct HintBusScene: Sendable {
    let subject: HintBusUnderTest
    var bus: any HintBus { subject.bus }
    let check: ConformanceCheck
}

/// The contract of `HintBus`: hints may be lost, repeated and reordered, but never invented, and a slow
/// reader does not make them pile up.
public struct HintBusConformance: Sendable {
    private let makeBus: @Sendable () async throws -> HintBusUnderTest
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeBus: makes a bus for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeBus: @escaping @Sendable () async throws -> HintBusUnderTest
    ) {
        self.timeLimit = timeLimit
        self.makeBus = makeBus
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        let makeBus = makeBus
        return try await runConformance(
            "HintBus",
            Self.steps,
            timeLimit: timeLimit,
            make: { HintBusScene(subject: try await makeBus(), check: $0) },
            close: { try await $0.subject.close() }
        )
    }

    private static let steps: [ConformanceStep<HintBusScene>] = [
        .init("a hint that is repeated arrives", arrives),
        .init("every reader hears", reachesEveryReader),
        .init("hints do not pile up for a slow reader", keepsTheNewest),
        .init("publishing without a reader is harmless", needsNoReader),
    ]

    private static func hint(_ number: Int64) -> Revision {
        Revision(history: HistoryID(bits: 7), number: number)
    }

    /// What was heard, once it was.
    private final class Ear: Sendable {
        private let heard = Mutex<[Revision]?>(nil)
        var revisions: [Revision]? { heard.withLock { $0 } }
        func note(_ revisions: [Revision]) { heard.withLock { $0 = revisions } }
    }

    /// Publishes `marker` again and again until every reader has heard it.
    ///
    /// - Returns: what each heard before.
    private static func publish(
        _ marker: Revision,
        on bus: any HintBus,
        until readers: [AsyncStream<Revision>]
    ) async throws -> [[Revision]] {
        let ears = readers.map { _ in Ear() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (reader, ear) in zip(readers, ears) {
                group.addTask {
                    var heard: [Revision] = []
                    for await revision in reader {
                        if revision == marker { break }
                        heard.append(revision)
                    }
                    ear.note(heard)
                }
            }
            while ears.contains(where: { $0.revisions == nil }) {
                try Task.checkCancellation()
                bus.publish(marker)
                await Task.yield()
            }
            try await group.waitForAll()
        }
        return ears.map { $0.revisions ?? [] }
    }

    private static func arrives(_ scene: HintBusScene) async throws {
        let heard = try await publish(hint(5), on: scene.bus, until: [scene.bus.hints()])
        try scene.check.equal(heard, [[]], "hints heard that nobody published")
    }

    private static func reachesEveryReader(_ scene: HintBusScene) async throws {
        let readers = (0..<3).map { _ in scene.bus.hints() }
        let heard = try await publish(hint(9), on: scene.bus, until: readers)
        try scene.check.equal(heard, [[], [], []], "hints heard that nobody published")
    }

    private static func keepsTheNewest(_ scene: HintBusScene) async throws {
        let published: Int64 = 10_000
        let hints = scene.bus.hints()
        for number in 1...published { scene.bus.publish(hint(number)) }
        let heard = try await publish(hint(published + 1), on: scene.bus, until: [hints])[0]
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

    private static func needsNoReader(_ scene: HintBusScene) async throws {
        for number in 1...100 { scene.bus.publish(hint(Int64(number))) }
    }
}
