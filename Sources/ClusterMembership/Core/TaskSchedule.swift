package import ClusterRole

/// When a slot is due, and what of what was missed is run.
package enum TaskSchedule {
    /// The first due time that is not before `now`.
    package static func firstDue(of task: ClusterTask, at now: Timestamp) -> Timestamp {
        if now <= task.begins { return task.begins }
        let period = task.frequency.milliseconds
        let passed = now.milliseconds - task.begins.milliseconds
        return Timestamp(
            milliseconds: task.begins.milliseconds + (passed + period - 1) / period * period
        )
    }

    /// What a new holder of a slot writes before anything else; `nil` if what is there will do.
    ///
    /// It is written before the first due time comes, so that a slot that changes hands then is not
    /// counted from anew. A due time that was run is not run again because the frequency changed.
    package static func progress(
        of task: ClusterTask,
        from stored: TaskProgress?,
        at now: Timestamp
    ) -> TaskProgress? {
        guard let stored else {
            return TaskProgress(next: firstDue(of: task, at: now), frequency: task.frequency)
        }
        if stored.frequency == task.frequency { return nil }
        var changed = stored
        changed.frequency = task.frequency
        let done = max(stored.running?.due ?? .distantPast, stored.last ?? .distantPast)
        changed.next = firstDue(of: task, at: max(now, done + .milliseconds(1)))
        return changed
    }

    /// Begins what is due, if anything is: a run that was interrupted comes first.
    ///
    /// - Returns: the progress to be stored before the run is begun.
    package static func begin(
        _ progress: TaskProgress,
        of task: ClusterTask,
        at now: Timestamp
    ) -> TaskProgress? {
        var begun = progress
        if let interrupted = progress.running {
            begun.running = interrupted
            begun.running?.attempt += 1
            return begun
        }
        guard progress.next <= now else { return nil }
        let period = max(1, task.frequency.milliseconds)
        let passed = (now.milliseconds - progress.next.milliseconds) / period
        let skipped =
            switch task.missed {
            case .skip: passed
            case .catchUp(let most): max(0, passed + 1 - Int64(most))
            }
        let due = Timestamp(milliseconds: progress.next.milliseconds + skipped * period)
        begun.running = TaskProgress.Begun(due: due, skipped: Int(skipped))
        begun.next = Timestamp(milliseconds: due.milliseconds + period)
        return begun
    }

    /// What is stored when a run has ended.
    package static func end(_ progress: TaskProgress) -> TaskProgress {
        var ended = progress
        ended.last = progress.running?.due ?? progress.last
        ended.running = nil
        return ended
    }
}
