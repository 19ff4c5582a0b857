internal import ClusterRole
internal import ServiceLifecycle
internal import Synchronization

/// Devices that wait for work, each in a place of its own; the number of places is bounded.
///
/// A place is armed before its device looks for work. What is signalled from then on ends the next
/// wait at once, so nothing falls between looking and waiting; and a place that is signalled already
/// costs further signals nothing.
final class WorkWaiters: Sendable {
    /// Why a wait ended.
    enum Ending: Hashable, Sendable {
        /// Something changed that may concern the device.
        case signalled
        /// The time is over.
        case timedOut
        /// The node is shutting down.
        case stopped
        /// The caller was cancelled: its device is gone.
        case cancelled
    }

    typealias Place = UInt64

    private struct Waiter {
        var device: ConcernedDevice
        var ending: Ending?
        var continuation: CheckedContinuation<Ending, Never>?
    }

    private struct State {
        var waiters: [Place: Waiter] = [:]
        var places: [ConcernedDevice: [Place]] = [:]
        /// Places that have not been signalled since they were armed.
        var armed: Set<Place> = []
        var lastPlace: Place = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int) { self.limit = limit }

    /// How many devices wait.
    var count: Int { state.withLock { $0.waiters.count } }

    /// Takes a place; `nil` if there is none left.
    func enter(_ device: ConcernedDevice) -> Place? {
        state.withLock { state in
            guard state.waiters.count < limit else { return nil }
            state.lastPlace += 1
            state.waiters[state.lastPlace] = Waiter(device: device)
            state.places[device, default: []].append(state.lastPlace)
            return state.lastPlace
        }
    }

    /// Gives a place back.
    func leave(_ place: Place) {
        state.withLock { state in
            guard let waiter = state.waiters.removeValue(forKey: place) else { return }
            state.armed.remove(place)
            state.places[waiter.device]?.removeAll { $0 == place }
            if state.places[waiter.device]?.isEmpty ?? false { state.places[waiter.device] = nil }
        }
    }

    /// Forgets earlier signals. Call it, then look, then wait.
    func arm(_ place: Place) {
        state.withLock { state in
            switch state.waiters[place]?.ending {
            case .signalled, .timedOut, nil: state.waiters[place]?.ending = nil
            case .stopped, .cancelled: return
            }
            state.armed.insert(place)
        }
    }

    /// Ends the waits of those a change may concern.
    func signal(_ concern: WorkConcern) {
        let woken = state.withLock { state -> [CheckedContinuation<Ending, Never>] in
            switch concern {
            case .nobody: return []
            case .everybody:
                let armed = state.armed.sorted()
                return armed.compactMap { Self.end($0, .signalled, &state) }
            case .devices(let devices):
                return devices.flatMap { state.places[$0] ?? [] }.filter(state.armed.contains)
                    .compactMap { Self.end($0, .signalled, &state) }
            }
        }
        for continuation in woken { continuation.resume(returning: .signalled) }
    }

    private func end(_ place: Place, _ ending: Ending) {
        state.withLock { Self.end(place, ending, &$0) }?.resume(returning: ending)
    }

    /// - Returns: what waits at the place.
    private static func end(
        _ place: Place,
        _ ending: Ending,
        _ state: inout State
    ) -> CheckedContinuation<Ending, Never>? {
        state.armed.remove(place)
        guard let waiter = state.waiters[place] else { return nil }
        // An end for good is not undone by a late signal.
        if waiter.ending != .stopped && waiter.ending != .cancelled {
            state.waiters[place]?.ending = ending
        }
        state.waiters[place]?.continuation = nil
        return waiter.continuation
    }

    /// Waits until the place is signalled, for `duration` at most. A graceful shutdown ends it at once.
    func wait(at place: Place, for duration: Duration, clock: any TimeSource) async -> Ending {
        await withGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    do { try await clock.sleep(for: duration) } catch { return }
                    self.end(place, .timedOut)
                }
                let ending = await self.next(at: place)
                group.cancelAll()
                return ending
            }
        } onGracefulShutdown: {
            self.end(place, .stopped)
        }
    }

    private func next(at place: Place) async -> Ending {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ending = state.withLock { state -> Ending? in
                    guard let waiter = state.waiters[place] else { return .stopped }
                    if let ending = waiter.ending { return ending }
                    state.waiters[place]?.continuation = continuation
                    return nil
                }
                if let ending { continuation.resume(returning: ending) }
            }
        } onCancel: {
            self.end(place, .cancelled)
        }
    }
}
