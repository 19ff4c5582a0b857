internal import Synchronization

/// One waiter, any number of signals: a signal nobody waits for is kept, several are one.
final class WakeSignal: Sendable {
    private struct State {
        var isPending = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func signal() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard let waiter = state.waiter else {
                state.isPending = true
                return nil
            }
            state.waiter = nil
            return waiter
        }
        waiter?.resume()
    }

    /// Returns at the next signal, at once if one is pending, or when the task is cancelled.
    func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let displaced = state.withLock { state -> CheckedContinuation<Void, Never>? in
                    if state.isPending || Task.isCancelled {
                        state.isPending = state.isPending && Task.isCancelled
                        return continuation
                    }
                    defer { state.waiter = continuation }
                    return state.waiter
                }
                displaced?.resume()
            }
        } onCancel: {
            let waiter = state.withLock { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }
}
