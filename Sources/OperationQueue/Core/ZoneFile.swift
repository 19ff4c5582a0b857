internal import ClusterRole

/// What a TZif file (RFC 9636, version 2 or later) says about a zone.
///
/// Input is not trusted: each length is checked against what is there before it is used, and the
/// values must be what the format allows.
struct ZoneFile: Hashable, Sendable {
    /// Why a file cannot be used.
    enum Refusal: Error, Hashable {
        case notTimeZoneData
        /// Version 1 ends in 2037 and has no rule for what follows.
        case versionOne
        /// The file counts leap seconds; our time does not.
        case leapSeconds
        case damaged
        /// The zone changes more often in the time asked for than a window may carry.
        case tooManyChanges
    }

    /// The offset before the first transition.
    private let initialOffset: Int32
    private let transitions: [ZoneRule.Transition]
    /// What holds behind the last transition; `nil` when the file does not say.
    private let rule: ZoneRule?

    init(parsing bytes: [UInt8]) throws(Refusal) {
        var reader = Reader(rest: bytes[...])
        let first = try reader.header()
        guard first.version != 0 else { throw .versionOne }
        _ = try reader.take(first.size(ofTime: 4))
        let header = try reader.header()
        guard header.leaps == 0 else { throw .leapSeconds }
        guard (1...256).contains(header.types) else { throw .damaged }

        let times = try reader.take(header.transitions * 8)
        let indices = Array(try reader.take(header.transitions))
        let types = try reader.take(header.types * 6)
        _ = try reader.take(header.characters + header.standards + header.universals)

        let offsets = stride(from: types.startIndex, to: types.endIndex, by: 6).map {
            Int32(truncatingIfNeeded: Reader.integer(types[$0..<$0 + 4]))
        }
        guard offsets.allSatisfy(ZoneOffset.allowedSeconds.contains) else { throw .damaged }
        var transitions: [ZoneRule.Transition] = []
        transitions.reserveCapacity(header.transitions)
        for (position, index) in indices.enumerated() {
            let start = times.startIndex + position * 8
            let at = Reader.integer(times[start..<start + 8])
            guard Int(index) < offsets.count, transitions.last.map({ $0.at < at }) ?? true
            else { throw .damaged }
            transitions.append(ZoneRule.Transition(at: at, offset: offsets[Int(index)]))
        }
        initialOffset = offsets[0]
        self.transitions = transitions
        rule = try reader.footer()
    }

    /// The offsets of a span of time: the one in force at `from`, said to hold since the distant past,
    /// and each change until `through`, of which there may be `limit`.
    func offsets(
        from: Timestamp,
        through: Timestamp,
        limit: Int
    ) throws(Refusal) -> [ZoneOffset] {
        // In seconds since 1970; the times of a Timestamp leave room for all that is added below.
        let from = min(max(from, .distantPast), .distantFuture).milliseconds / 1_000
        let through = min(max(through, .distantPast), .distantFuture).milliseconds / 1_000
        var result = [ZoneOffset(from: .distantPast, seconds: initialOffset)]
        func take(_ transition: ZoneRule.Transition) throws(Refusal) {
            if transition.at <= from {
                result[0] = ZoneOffset(from: .distantPast, seconds: transition.offset)
                return
            }
            let time = Timestamp(milliseconds: transition.at * 1_000)
            // Two changes at one moment: the later of the list holds.
            if let last = result.last, last.from == time, result.count > 1 { result.removeLast() }
            guard result.last?.seconds != transition.offset else { return }
            guard result.count < limit else { throw .tooManyChanges }
            result.append(ZoneOffset(from: time, seconds: transition.offset))
        }
        for transition in transitions where transition.at <= through { try take(transition) }
        guard let rule else { return result }
        let last = transitions.last?.at
        if last == nil || last! <= from, rule.daylight == nil {
            // The rule says what the last transition says; without one, it says all.
            result[0] = ZoneOffset(from: .distantPast, seconds: rule.offset)
        }
        let firstYear = CivilDate.year(ofDay: from / 86_400) - 1
        let lastYear = CivilDate.year(ofDay: through / 86_400) + 1
        guard rule.daylight != nil, firstYear <= lastYear else { return result }
        for year in firstYear...lastYear {
            for transition in rule.transitions(in: year)
            where transition.at <= through && last.map({ transition.at > $0 }) ?? true {
                try take(transition)
            }
        }
        return result
    }
}

extension ZoneFile {
    private struct Header {
        let version: UInt8
        let universals: Int
        let standards: Int
        let leaps: Int
        let transitions: Int
        let types: Int
        let characters: Int

        /// The bytes of the block behind the header.
        func size(ofTime time: Int) -> Int {
            transitions * (time + 1) + types * 6 + characters + leaps * (time + 4) + standards
                + universals
        }
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>

        /// Signed, big-endian.
        static func integer(_ bytes: ArraySlice<UInt8>) -> Int64 {
            let isNegative = (bytes.first ?? 0) >= 0x80
            return bytes.reduce(isNegative ? -1 : 0) { $0 << 8 | Int64($1) }
        }

        mutating func take(_ count: Int) throws(Refusal) -> ArraySlice<UInt8> {
            guard count <= rest.count else { throw .damaged }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }

        mutating func header() throws(Refusal) -> Header {
            guard rest.count >= 44, rest.starts(with: "TZif".utf8) else { throw .notTimeZoneData }
            let bytes = try take(44)
            func count(_ place: Int) throws(Refusal) -> Int {
                let start = bytes.startIndex + 20 + place * 4
                let value = Self.integer(bytes[start..<start + 4])
                // More than the file could hold: refused before anything is multiplied.
                guard (0...Int64(maximumZoneFileSize)).contains(value) else { throw .damaged }
                return Int(value)
            }
            return Header(
                version: bytes[bytes.startIndex + 4],
                universals: try count(0),
                standards: try count(1),
                leaps: try count(2),
                transitions: try count(3),
                types: try count(4),
                characters: try count(5)
            )
        }

        /// A TZ string between two line ends; an empty one says nothing.
        mutating func footer() throws(Refusal) -> ZoneRule? {
            let newline = UInt8(ascii: "\n")
            guard rest.count >= 2, rest.first == newline, rest.last == newline else {
                throw .damaged
            }
            let text = rest.dropFirst().dropLast()
            if text.isEmpty { return nil }
            guard let rule = ZoneRule(parsing: text) else { throw .damaged }
            return rule
        }
    }
}

/// The largest zone file read, in bytes. Those of today have less than 4 KiB.
let maximumZoneFileSize = 65_536
