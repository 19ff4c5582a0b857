internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import Synchronization

extension PendingWorkConformance {
    static func pollsAsGroups(_ worker: WorkerScene) async throws {
        let scene = worker.scene
        let (slow, fast) = (GroupID(rawValue: "slow"), GroupID(rawValue: "fast"))
        let row = try await scene.enrol("d-1", groups: [slow, fast])
        try await scene.change(.setGroupPollingFrequency(slow, .seconds(300)))
        // One goes into the snapshot, the other comes by the delta after it.
        try await worker.settle()
        try scene.check.equal(try await worker.work(row).pollingFrequency, .seconds(300), "slow")
        try await scene.change(.setGroupPollingFrequency(fast, .seconds(20)))
        try await worker.settle()
        try scene.check.equal(try await worker.work(row).pollingFrequency, .seconds(20), "fast")
        try await scene.change(.leave(fast, [row.id]))
        try await worker.settle()
        try scene.check.equal(try await worker.work(row).pollingFrequency, .seconds(300), "left")
        try await scene.change(.setPollingFrequency(row.id, .seconds(5)))
        try await scene.change(.setGroupPollingFrequency(slow, nil))
        try await worker.settle()
        try scene.check.equal(try await worker.work(row).pollingFrequency, .seconds(5), "its own")
    }

    static func signals(_ worker: WorkerScene) async throws {
        guard let signals = worker.worker.reader as? any WorkSignals else {
            throw StepSkip(reason: "the reader gives no signals")
        }
        let scene = worker.scene
        let rows = try await scene.enrol(["d-1", "d-2"])
        try await worker.settle()
        let heard = SignalledDevices(rows)
        signals.observeWork { heard.note($0) }
        let named = try await scene.enqueue(to: [rows[0]], code: "named")
        try await worker.settle()
        try scene.check.equal(heard.pop(), ["d-1"], "signalled by an operation that names d-1")
        _ = try await scene.enqueue(to: .everyone, code: "grouped")
        try await worker.settle()
        try scene.check.equal(heard.pop(), ["d-1", "d-2"], "signalled by one for everyone")
        try await worker.accept(scene.result(.completed, of: named, by: rows[0]))
        try await worker.settle()
        try scene.check.equal(heard.pop(), ["d-1"], "signalled by the answer of d-1")
        try await scene.change(.setPollingFrequency(rows[1].id, .seconds(9)))
        try await worker.settle()
        try scene.check.equal(heard.pop(), ["d-2"], "signalled by a change of d-2")
    }
}

/// Whom signals named, of these devices.
private final class SignalledDevices: Sendable {
    private let all: [String]
    private let heard = Mutex<Set<String>>([])

    init(_ rows: [DeviceRow]) { all = rows.map(\.id.rawValue) }

    func note(_ concern: WorkConcern) {
        heard.withLock { heard in
            switch concern {
            case .nobody: break
            case .devices(let devices): heard.formUnion(devices.map(\.device.rawValue))
            case .everybody: heard.formUnion(all)
            }
        }
    }

    func pop() -> [String] {
        heard.withLock { heard in
            defer { heard = [] }
            return heard.sorted()
        }
    }
}
