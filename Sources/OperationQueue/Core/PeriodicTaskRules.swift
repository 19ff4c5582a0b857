public import ClusterRole

extension PeriodicTask {
    /// The first due time behind `now` in step with the present one. Runs missed while nobody ran
    /// are made up by one.
    public func nextDue(at now: Timestamp) -> Timestamp {
        let step = max(frequency, Self.minimumFrequency).milliseconds
        let late = max(0, now.milliseconds - due.milliseconds)
        return due + .milliseconds((late / step + 1) * step)
    }

    /// The idempotency key of the run that is due: `task/<name>/<due ms>`. A run that was enqueued
    /// before a crash is recognised by it afterwards.
    public var runKey: String { "task/\(id)/\(due.milliseconds)" }
}
