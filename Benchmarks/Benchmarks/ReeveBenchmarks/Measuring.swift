import Benchmark
import Foundation
import Synchronization

/// Something made before a benchmark's first iteration and given up after its last.
private final class Holder<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)

    func put(_ new: Value) { value.withLock { $0 = new } }
    func get() -> Value? { value.withLock { $0 } }
    func take() -> Value? { value.withLock { $0.take() } }
}

/// How often a measured body repeats its operation. Times are given for one of them.
enum Repetition: Sendable {
    /// Once: operations of milliseconds and more.
    case once
    /// A thousand times: the processor's time is counted in steps of 10 ms.
    case thousandfold

    var factor: BenchmarkScalingFactor { self == .once ? .one : .kilo }
}

/// Registers a benchmark with a fixture of its own.
///
/// - Parameter body: calls ``Benchmark/startMeasurement()`` itself if it has something to prepare.
func measure<Fixture: Sendable>(
    _ name: String,
    _ repetition: Repetition,
    make: @escaping @Sendable () async throws -> Fixture,
    close: @escaping @Sendable (Fixture) async throws -> Void,
    body: @escaping @Sendable (Benchmark, Fixture) async throws -> Void
) {
    let holder = Holder<Fixture>()
    Benchmark(
        name,
        configuration: Benchmark.Configuration(
            metrics: [.wallClock, .cpuTotal, .throughput],
            warmupIterations: 1,
            scalingFactor: repetition.factor,
            maxDuration: .seconds(5),
            maxIterations: 200
        ),
        closure: { benchmark in
            guard let fixture = holder.get() else { return benchmark.error("no fixture") }
            try await body(benchmark, fixture)
        },
        setup: { holder.put(try await make()) },
        teardown: {
            if let fixture = holder.take() { try await close(fixture) }
        }
    )
}

/// The benchmark did not measure what it is to measure.
struct UnexpectedOutcome: Error {
    let what: String

    init(_ what: String) { self.what = what }
}

/// A directory that is removed when it is given up.
final class ScratchDirectory: Sendable {
    let path: String

    init() throws {
        let name = "reeve-benchmarks-\(UUID().uuidString)"
        path = FileManager.default.temporaryDirectory.appending(path: name).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func path(_ name: String) -> String { "\(path)/\(name)" }
}

/// Runs `body` for every number below `count`, `width` at a time.
func forEach(
    below count: Int,
    width: Int,
    _ body: @escaping @Sendable (Int) async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for start in 0..<min(width, count) {
            group.addTask {
                for index in stride(from: start, to: count, by: width) { try await body(index) }
            }
        }
        try await group.waitForAll()
    }
}
