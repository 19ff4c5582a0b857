/// The rule behind the last transition of a zone file: a TZ string of POSIX with the extension of
/// RFC 9636 (times of −167…167 hours).
///
/// `std offset [dst [offset] ,start[/time],end[/time]]`, for instance `CET-1CEST,M3.5.0,M10.5.0/3`.
struct ZoneRule: Hashable, Sendable {
    /// When in a year the clock changes.
    enum Day: Hashable, Sendable {
        /// `Jn`: day 1…365, where 29 February does not count.
        case julian(Int64)
        /// `n`: day 0…365, where it does.
        case ordinal(Int64)
        /// `Mm.w.d`: weekday d (0 is Sunday) of week w (5 is the last) of month m.
        case weekday(month: Int64, week: Int64, day: Int64)
    }

    /// A day and a time of it, in seconds of the clock before the change; may lie outside the day.
    struct Change: Hashable, Sendable {
        var day: Day
        var seconds: Int64 = 7_200
    }

    struct Daylight: Hashable, Sendable {
        var offset: Int32
        var begins: Change
        var ends: Change
    }

    /// Seconds that standard time is ahead of UTC.
    let offset: Int32
    let daylight: Daylight?

    /// A moment, in seconds since 1970, and the offset from then on.
    struct Transition: Hashable, Sendable {
        let at: Int64
        let offset: Int32
    }

    /// Both changes of a year, in order; none for a zone without daylight saving.
    func transitions(in year: Int64) -> [Transition] {
        guard let daylight else { return [] }
        let begins = Self.moment(of: daylight.begins, in: year) - Int64(offset)
        let ends = Self.moment(of: daylight.ends, in: year) - Int64(daylight.offset)
        let pair = [
            Transition(at: ends, offset: offset), Transition(at: begins, offset: daylight.offset),
        ]
        return begins < ends ? pair.reversed() : pair
    }

    /// Seconds since 1970 by the wall clock.
    private static func moment(of change: Change, in year: Int64) -> Int64 {
        let day =
            switch change.day {
            case .julian(let number):
                CivilDate.days(year, 1, 1) + number - 1
                    + (CivilDate.isLeap(year) && number >= 60 ? 1 : 0)
            case .ordinal(let number):
                CivilDate.days(year, 1, 1) + number
            case .weekday(let month, let week, let weekday):
                Self.day(weekday, ofWeek: week, in: month, of: year)
            }
        return day * 86_400 + change.seconds
    }

    private static func day(
        _ weekday: Int64,
        ofWeek week: Int64,
        in month: Int64,
        of year: Int64
    ) -> Int64 {
        let first = CivilDate.days(year, month, 1)
        let next = month == 12 ? CivilDate.days(year + 1, 1, 1) : CivilDate.days(year, month + 1, 1)
        // 1970-01-01 was a Thursday, 4 from Sunday.
        var day = first + CivilDate.modulo(weekday - (first + 4), 7) + (week - 1) * 7
        while day >= next { day -= 7 }
        return day
    }
}

extension ZoneRule {
    /// Reads a TZ string; `nil` when it is none, or names daylight saving without saying when.
    init?(parsing text: some Sequence<UInt8>) {
        var scanner = Scanner(rest: Array(text)[...])
        guard scanner.skipName(), let west = scanner.time(maximumHours: 24) else { return nil }
        offset = Int32(-west)
        guard !scanner.rest.isEmpty else {
            daylight = nil
            return
        }
        guard scanner.skipName() else { return nil }
        var ahead = Int64(offset) + 3_600
        if scanner.rest.first != UInt8(ascii: ",") {
            guard let west = scanner.time(maximumHours: 24) else { return nil }
            ahead = -west
        }
        guard let begins = scanner.change(), let ends = scanner.change(), scanner.rest.isEmpty
        else { return nil }
        daylight = Daylight(offset: Int32(ahead), begins: begins, ends: ends)
    }

    private struct Scanner {
        var rest: ArraySlice<UInt8>

        mutating func skip(_ byte: UInt8) -> Bool {
            guard rest.first == byte else { return false }
            rest.removeFirst()
            return true
        }

        /// Three letters or more, or anything of letters, digits and signs in `<>`.
        mutating func skipName() -> Bool {
            if skip(UInt8(ascii: "<")) {
                guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return false }
                rest = rest[(end + 1)...]
                return true
            }
            let letters = rest.prefix { ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7A }
            rest = rest[letters.endIndex...]
            return letters.count >= 3
        }

        /// One to three digits.
        mutating func number(in range: ClosedRange<Int64>) -> Int64? {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard (1...3).contains(digits.count) else { return nil }
            rest = rest[digits.endIndex...]
            let value = digits.reduce(0 as Int64) { $0 * 10 + Int64($1 - 0x30) }
            return range.contains(value) ? value : nil
        }

        /// `[+-]hh[:mm[:ss]]`, in seconds.
        mutating func time(maximumHours: Int64) -> Int64? {
            let isNegative = skip(UInt8(ascii: "-"))
            if !isNegative { _ = skip(UInt8(ascii: "+")) }
            guard var seconds = number(in: 0...maximumHours).map({ $0 * 3_600 }) else { return nil }
            for unit in [60, 1] as [Int64] where rest.first == UInt8(ascii: ":") {
                rest.removeFirst()
                guard let value = number(in: 0...59) else { return nil }
                seconds += value * unit
            }
            return isNegative ? -seconds : seconds
        }

        /// `,day[/time]`.
        mutating func change() -> Change? {
            guard skip(UInt8(ascii: ",")), let day = day() else { return nil }
            guard skip(UInt8(ascii: "/")) else { return Change(day: day) }
            return time(maximumHours: 167).map { Change(day: day, seconds: $0) }
        }

        private mutating func day() -> Day? {
            if skip(UInt8(ascii: "J")) { return number(in: 1...365).map { .julian($0) } }
            guard skip(UInt8(ascii: "M")) else { return number(in: 0...365).map { .ordinal($0) } }
            guard let month = number(in: 1...12), skip(UInt8(ascii: ".")),
                let week = number(in: 1...5), skip(UInt8(ascii: ".")),
                let day = number(in: 0...6)
            else { return nil }
            return .weekday(month: month, week: week, day: day)
        }
    }
}

/// Arithmetic of the Gregorian calendar, days counted from 1970-01-01.
enum CivilDate {
    static func isLeap(_ year: Int64) -> Bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    /// The day of a date. Months 1…12, days 1…31, any year.
    static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        // Years from March on, so that the leap day is the last; 400 years are 146,097 days.
        let marchYear = month > 2 ? year : year - 1
        let era = (marchYear - modulo(marchYear, 400)) / 400
        let yearOfEra = modulo(marchYear, 400)
        let dayOfYear = (153 * modulo(month - 3, 12) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
            - 719_468
    }

    /// The year that a day lies in.
    static func year(ofDay day: Int64) -> Int64 {
        var year = 1970 + day * 400 / 146_097
        while days(year, 1, 1) > day { year -= 1 }
        while days(year + 1, 1, 1) <= day { year += 1 }
        return year
    }

    /// The remainder that is never negative.
    static func modulo(_ value: Int64, _ divisor: Int64) -> Int64 {
        let rest = value % divisor
        return rest < 0 ? rest + divisor : rest
    }
}
