import Benchmark

let benchmarks: @Sendable () -> Void = {
    OperationBenchmarks.register()
    ArtifactBenchmarks.register()
}
