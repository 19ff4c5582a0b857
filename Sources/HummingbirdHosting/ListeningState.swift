#if Server
internal import HTTPHandling
internal import Synchronization

/// Whether a server listens, and who waits to know.
final class ListeningState: Sendable {
    private typealias Waiter = CheckedContinuation<ServerAddress, any Error>

    private enum Phase {
        case idle
        case starting
        case listening(ServerAddress)
        case ended(HTTPHandlingError)
    }

    private struct State {
        var phase = Phase.idle
        var waiters: [UInt64: Waiter] = [:]
        var nextWaiter: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Allows one run.
    func begin() throws {
        try state.withLock { state in
            guard case .idle = state.phase else {
                throw HTTPHandlingError(
                    .notListening,
                    "This server was run already. Make another one."
                )
            }
            state.phase = .starting
        }
    }

    func listen(_ address: ServerAddress) {
        finish(.listening(address), .success(address))
    }

    func end(_ error: HTTPHandlingError) {
        finish(.ended(error), .failure(error))
    }

    private func finish(_ phase: Phase, _ result: Result<ServerAddress, any Error>) {
        let waiters = state.withLock { state in
            state.phase = phase
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(with: result) }
    }

    /// Waits until the server listens or has ended.
    func address() async throws -> ServerAddress {
        let number = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { wait(number, $0) }
        } onCancel: {
            cancel(number)
        }
    }

    private func wait(_ number: UInt64, _ waiter: Waiter) {
        let result: Result<ServerAddress, any Error>? = state.withLock { state in
            switch state.phase {
            case .listening(let address): return .success(address)
            case .ended(let error): return .failure(error)
            case .idle, .starting:
                state.waiters[number] = waiter
                return nil
            }
        }
        if let result { waiter.resume(with: result) }
        // A cancellation that came before the waiter was entered has found nobody.
        if result == nil, Task.isCancelled { cancel(number) }
    }

    private func cancel(_ number: UInt64) {
        let waiter = state.withLock { $0.waiters.removeValue(forKey: number) }
        waiter?.resume(throwing: CancellationError())
    }
}
#endif
