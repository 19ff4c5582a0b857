internal import Synchronization

/// Runs jobs as children of one task, so that whoever asked for a job can stop waiting for it while
/// the job itself still ends with the service.
final class Nursery: Sendable {
    typealias Job = @Sendable () async -> Void

    private struct State {
        var isOpen = false
        var jobs: [Job] = []
    }

    private let state = Mutex(State())
    private let news = Signal()

    /// Jobs are taken from now on; ``run()`` follows.
    func open() { state.withLock { $0.isOpen = true } }

    /// - Returns: whether the job is taken; otherwise nobody runs jobs.
    func start(_ job: @escaping Job) -> Bool {
        let isTaken = state.withLock { state in
            if state.isOpen { state.jobs.append(job) }
            return state.isOpen
        }
        if isTaken { news.raise() }
        return isTaken
    }

    /// Runs jobs until it is cancelled; the jobs are then cancelled and waited for.
    func run() async {
        open()
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                for job in take(closing: false) { group.addTask { await job() } }
                await news.wait()
            }
            // A job that came last has somebody who waits for its end.
            group.cancelAll()
            for job in take(closing: true) { group.addTask { await job() } }
        }
    }

    private func take(closing: Bool) -> [Job] {
        state.withLock { state in
            defer { state.jobs = [] }
            if closing { state.isOpen = false }
            return state.jobs
        }
    }
}
