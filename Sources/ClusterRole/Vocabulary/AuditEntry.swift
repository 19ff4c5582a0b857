/// What kind of caller an identity is.
public enum IdentityKind: UInt8, Hashable, Sendable, CaseIterable {
    /// Nobody known: no token, or one nobody knows.
    case nobody = 0
    /// Works on a tenant through the admin API.
    case administrator = 1
    /// A worker or manager that speaks the link.
    case node = 2
    /// Sees and controls the devices he owns.
    case user = 3
    /// Code in the manager's own process.
    case process = 4

    /// The word used for it in answers and tables.
    public var name: String { String(describing: self) }
}

/// What became of an audited request.
public enum AuditOutcome: UInt8, Hashable, Sendable, CaseIterable {
    /// It was let through to do its work; an entry that names this one says what became of it. Without one
    /// the manager ended in between, and the work may be done or not.
    case begun = 1
    case done = 2
    /// The caller was told what is wrong with it (400–499).
    case refused = 3
    /// The manager could not do it (500–599).
    case failed = 4

    public var name: String { String(describing: self) }

    /// The outcome an answer with this HTTP status tells of.
    public init(status: Int) {
        switch status {
        case ..<400: self = .done
        case 400..<500: self = .refused
        default: self = .failed
        }
    }
}

/// Who did what, from where, and what became of it: as it is told to an ``AuditTrail``.
public struct AuditRecord: Hashable, Sendable {
    /// The longest text of any member, in bytes of UTF-8; longer ones are cut. A row stays below a page of
    /// the store.
    public static let maximumTextBytes = 512

    public var at: Timestamp
    /// The caller's name; empty if nobody is known.
    public var who: String
    public var kind: IdentityKind
    /// The caller's tenant; `nil` if nobody is known.
    public var tenant: TenantID?
    /// What was asked, such as `enqueueOperation`.
    public var operation: String
    /// What it was asked of: the path of the request.
    public var target: String
    /// The address of the connection's peer.
    public var peer: String
    /// The client's address, as a named proxy told it; empty without one.
    public var client: String
    public var outcome: AuditOutcome
    /// The HTTP status of the answer; 0 where there is none.
    public var status: Int
    /// The code of what was refused; empty for a success.
    public var code: String
    /// The revision that contains the write, where the answer names one.
    public var revision: String
    /// The number of the entry that said it had begun.
    public var begun: Int64?
    /// Refusals before this one that were counted and not recorded, because there were too many.
    public var suppressed: Int64

    public init(
        at: Timestamp = .distantPast,
        who: String = "",
        kind: IdentityKind = .nobody,
        tenant: TenantID? = nil,
        operation: String,
        target: String = "",
        peer: String = "",
        client: String = "",
        outcome: AuditOutcome = .begun,
        status: Int = 0,
        code: String = "",
        revision: String = "",
        begun: Int64? = nil,
        suppressed: Int64 = 0
    ) {
        self.at = at
        self.who = who
        self.kind = kind
        self.tenant = tenant
        self.operation = operation
        self.target = target
        self.peer = peer
        self.client = client
        self.outcome = outcome
        self.status = status
        self.code = code
        self.revision = revision
        self.begun = begun
        self.suppressed = suppressed
    }

    /// The same with every text cut to ``maximumTextBytes``.
    func bounded() -> AuditRecord {
        var result = self
        result.who = Self.cut(who)
        result.operation = Self.cut(operation)
        result.target = Self.cut(target)
        result.peer = Self.cut(peer)
        result.client = Self.cut(client)
        result.code = Self.cut(code)
        result.revision = Self.cut(revision)
        return result
    }

    private static func cut(_ text: String) -> String {
        guard text.utf8.count > maximumTextBytes else { return text }
        var result = ""
        var bytes = 0
        for character in text.unicodeScalars {
            bytes += UTF8.width(character)
            if bytes > maximumTextBytes { break }
            result.unicodeScalars.append(character)
        }
        return result
    }
}

/// One entry of the audit log: a record with its number, bound to the entry before it.
public struct AuditEntry: Hashable, Sendable {
    /// Grows by one with each entry, without gaps.
    public let number: Int64
    public let record: AuditRecord
    /// SHA-256 over the number, the record and the digest of the entry before: 32 bytes.
    public let digest: [UInt8]

    /// An entry as it was read back. Nothing is checked; ``AuditReader/verify()`` does.
    public init(number: Int64, record: AuditRecord, digest: [UInt8]) {
        self.number = number
        self.record = record
        self.digest = digest
    }

    public var mark: AuditMark { AuditMark(number: number, digest: digest) }
}

/// A place in the audit log: an entry's number and digest.
///
/// Who notes the head of the log elsewhere can tell later that nothing up to it was changed.
public struct AuditMark: Hashable, Sendable, CustomStringConvertible {
    public let number: Int64
    /// 32 bytes.
    public let digest: [UInt8]

    public init(number: Int64, digest: [UInt8]) {
        self.number = number
        self.digest = digest
    }

    /// Before the first entry.
    public static let origin = AuditMark(number: 0, digest: Array(repeating: 0, count: 32))

    /// `number:digest`, the digest in hexadecimal digits.
    public var description: String { "\(number):\(hexadecimal(digest))" }
}

/// How far an audit log reaches.
public struct AuditBounds: Hashable, Sendable {
    /// The newest entry that was purged.
    public var floor: AuditMark
    /// The newest entry.
    public var head: AuditMark

    public init(floor: AuditMark = .origin, head: AuditMark = .origin) {
        self.floor = floor
        self.head = head
    }
}

/// Which entries are asked for. A member that is `nil` asks for nothing.
public struct AuditFilter: Hashable, Sendable {
    public var who: String?
    public var since: Timestamp?
    public var outcome: AuditOutcome?
    public var operation: String?
    /// Entries of this tenant's callers; `nil` for all, those of nobody included.
    public var tenant: TenantID?

    public init(
        who: String? = nil,
        since: Timestamp? = nil,
        outcome: AuditOutcome? = nil,
        operation: String? = nil,
        tenant: TenantID? = nil
    ) {
        self.who = who
        self.since = since
        self.outcome = outcome
        self.operation = operation
        self.tenant = tenant
    }

    /// Whether a record is asked for.
    public func matches(_ record: AuditRecord) -> Bool {
        (who == nil || who == record.who) && (since.map { record.at >= $0 } ?? true)
            && (outcome == nil || outcome == record.outcome)
            && (operation == nil || operation == record.operation)
            && (tenant == nil || tenant == record.tenant)
    }
}

/// A page of the audit log, newest first.
public struct AuditPage: Hashable, Sendable {
    public var entries: [AuditEntry]
    /// Pass it as `before` for the next page; `nil` on the last one. A page may have fewer entries than asked
    /// for and still have a next one: each looks at a bounded part of the log.
    public var next: Int64?

    public init(entries: [AuditEntry], next: Int64?) {
        self.entries = entries
        self.next = next
    }
}

/// What ``AuditReader/verify()`` found.
public struct AuditVerification: Hashable, Sendable {
    /// How many entries were looked at.
    public var entries: Int
    /// The newest entry, as the log says.
    public var head: AuditMark
    /// The first number at which the log is not what was written; `nil` if it is whole.
    public var brokenAt: Int64?

    public init(entries: Int, head: AuditMark, brokenAt: Int64?) {
        self.entries = entries
        self.head = head
        self.brokenAt = brokenAt
    }

    public var isWhole: Bool { brokenAt == nil }
}
