#if Server
import ClusterRole
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import Logging
import ServiceLifecycle
import Synchronization
import XCTest

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Runs a server on a free port for the length of `body`, then stops it gracefully.
func withServer(
    _ mounts: [HandlerMount],
    configuration: ReeveServerConfiguration = ReeveServerConfiguration(),
    time: any TimeSource = SystemTimeSource(),
    _ body: (ServerAddress, ServiceGroup) async throws -> Void
) async throws {
    let server = try ReeveServer(
        configuration: configuration,
        mounts: mounts,
        time: time,
        logger: quiet
    )
    let group = ServiceGroup(
        configuration: ServiceGroupConfiguration(services: [server], logger: quiet)
    )
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await group.run() }
        let address = try await server.boundAddress
        do {
            try await body(address, group)
        } catch {
            await group.triggerGracefulShutdown()
            throw error
        }
        await group.triggerGracefulShutdown()
        try await tasks.waitForAll()
    }
}

/// Chunks of 64 KiB that are made when they are asked for.
struct CountedChunks: AsyncSequence, Sendable {
    typealias Failure = any Error
    let count: Int
    let made = Counter()
    /// Kept for as long as the sequence is.
    var token: EndToken?

    /// Tells when the last reference to it has gone.
    final class EndToken: Sendable {
        let gone: Counter
        init(_ gone: Counter) { self.gone = gone }
        deinit { gone.increment() }
    }

    final class Counter: Sendable {
        private let number = Atomic<Int>(0)
        var value: Int { number.load(ordering: .relaxed) }
        func increment() { number.add(1, ordering: .relaxed) }
    }

    /// Chunk `number`: its own number, repeated.
    static func chunk(_ number: Int) -> [UInt8] {
        [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 64 << 10)
    }

    func makeAsyncIterator() -> Iterator { Iterator(count: count, made: made) }

    struct Iterator: AsyncIteratorProtocol {
        let count: Int
        let made: Counter
        var number = 0

        mutating func next() async throws -> [UInt8]? {
            guard number < count else { return nil }
            defer { number += 1 }
            made.increment()
            return CountedChunks.chunk(number)
        }
    }
}

/// A door that opens once.
struct Gate: Sendable {
    private let stream: AsyncStream<Void>
    private let door: AsyncStream<Void>.Continuation

    init() { (stream, door) = AsyncStream.makeStream() }

    func open() { door.finish() }
    func wait() async { for await _ in stream {} }
}

func json(_ body: [UInt8]) throws -> ProblemDetails {
    try JSONDecoder().decode(ProblemDetails.self, from: Data(body))
}
#endif
