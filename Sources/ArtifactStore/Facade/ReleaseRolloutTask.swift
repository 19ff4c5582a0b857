internal import ClusterRole
internal import Logging
public import ServiceLifecycle

/// Goes on with open rollouts. Runs on the coordinator.
public struct ReleaseRolloutTask: Service {
    private let rollouts: ReleaseRollouts
    private let interval: Duration

    /// - Parameters:
    ///   - rollouts: what is followed, by its clock and with its right to write.
    ///   - interval: how often it looks. A second: what an acknowledgement may wait for its wave.
    public init(_ rollouts: ReleaseRollouts, interval: Duration = .seconds(1)) {
        self.rollouts = rollouts
        self.interval = interval
    }

    /// Looks every interval until cancelled, shut down, or no longer the coordinator.
    public func run() async throws {
        let (clock, logger) = (rollouts.settings.clock, rollouts.settings.logger)
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled && !rollouts.capability.isRevoked {
                do {
                    try await rollouts.tick()
                } catch {
                    if Task.isCancelled { return }
                    logger.warning(
                        "Rollouts could not be followed; it is tried again.",
                        metadata: ["error": "\(error)"]
                    )
                }
                do { try await clock.sleep(for: interval) } catch { return }
            }
        }
    }
}
