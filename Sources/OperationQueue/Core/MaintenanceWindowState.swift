public import ClusterRole

extension MaintenanceWindow {
    /// Whether the window is open at `now`, and until when that holds.
    ///
    /// A start that does not exist (the gap of spring) is the gap's end; one that exists twice is the
    /// first. Times in which the window stays open and that touch or overlap are one time: `until` is
    /// the end of the last of them.
    public func state(at now: Timestamp) -> WindowState {
        if isAlwaysOpen { return .open(until: .distantFuture) }
        let moment = min(max(now, .distantPast), .distantFuture).milliseconds
        // An opening lasts at most seven days, meanwhile the wall clock jumps by less than three:
        // what was opened earlier than that is over.
        var day = localDay(of: moment) - Self.daysBack
        var end: Int64?
        while true {
            defer { day += 1 }
            guard opens(on: day) else { continue }
            let (opening, closing) = occurrence(on: day)
            if let until = end {
                if opening > until { return .open(until: Self.timestamp(until)) }
                end = max(until, closing)
            } else if opening > moment {
                // A day that the zone left out (it crossed the date line) opens and closes at once.
                if closing > opening { return .closed(opens: Self.timestamp(opening)) }
            } else if closing > moment {
                end = closing
            }
            if opening > Self.lastMoment {
                return end.map { .open(until: Self.timestamp($0)) }
                    ?? .closed(opens: .distantFuture)
            }
        }
    }

    private static let day: Int64 = 86_400_000
    private static let daysBack: Int64 = 10
    /// Where looking for the end of an open window stops at the latest.
    private static let lastMoment = Timestamp.distantFuture.milliseconds

    private static func timestamp(_ milliseconds: Int64) -> Timestamp {
        min(max(Timestamp(milliseconds: milliseconds), .distantPast), .distantFuture)
    }

    /// Whether each opening lasts, in days of the calendar, to the next one.
    private var isAlwaysOpen: Bool {
        let wholeDays = duration.milliseconds / Self.day
        guard wholeDays > 0 else { return false }
        let first = dayMask.trailingZeroBitCount
        var last = first
        for bit in (first + 1)...(first + 7) where dayMask & (1 << UInt8(bit % 7)) != 0 {
            if Int64(bit - last) > wholeDays { return false }
            last = bit
        }
        return true
    }

    /// Days since 1970-01-01 by the zone's calendar.
    private func localDay(of moment: Int64) -> Int64 {
        let offset = offsets.last { $0.from.milliseconds <= moment } ?? offsets[0]
        return Self.floorDivide(moment + Int64(offset.seconds) * 1_000, by: Self.day)
    }

    private func opens(on day: Int64) -> Bool {
        // 1970-01-01 was a Thursday, bit 3.
        let bit = (day + 3) - Self.floorDivide(day + 3, by: 7) * 7
        return dayMask & (1 << UInt8(bit)) != 0
    }

    private func occurrence(on day: Int64) -> (opening: Int64, closing: Int64) {
        let local = day * Self.day + Int64(start) * 60_000
        let length = duration.milliseconds
        let wholeDays = length / Self.day * Self.day
        let opening = firstMoment(atLocal: local)
        let closing = wholeDays == 0 ? opening : firstMoment(atLocal: local + wholeDays)
        return (opening, closing + (length - wholeDays))
    }

    /// The first moment at which the wall clock shows `local` or more.
    private func firstMoment(atLocal local: Int64) -> Int64 {
        for (index, offset) in offsets.enumerated() {
            var moment = local - Int64(offset.seconds) * 1_000
            if index > 0 { moment = max(moment, offset.from.milliseconds) }
            if index + 1 == offsets.count || moment < offsets[index + 1].from.milliseconds {
                return moment
            }
        }
        return local
    }

    private static func floorDivide(_ value: Int64, by divisor: Int64) -> Int64 {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
