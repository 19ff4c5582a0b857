#if Server
public import ClusterRole
internal import HTTPTypes

/// A request as far as an audit log is concerned.
public struct AccessRecord: Hashable, Sendable {
    /// Who is calling; `nil` if nobody known.
    public var identity: Identity?
    /// The route's operation, or what a host says was tried, such as `linkHandshake`.
    public var operation: String
    /// The path that was asked for.
    public var target: String
    /// The address of the connection's peer.
    public var peer: String
    /// The client's address, where a named proxy told it.
    public var client: String
    /// The status of the answer; 0 before there is one.
    public var status: Int
    /// The code of a refusal.
    public var code: String
    /// The revision that contains the write.
    public var revision: String

    public init(
        identity: Identity? = nil,
        operation: String,
        target: String = "",
        peer: String = "",
        client: String = "",
        status: Int = 0,
        code: String = "",
        revision: String = ""
    ) {
        self.identity = identity
        self.operation = operation
        self.target = target
        self.peer = peer
        self.client = client
        self.status = status
        self.code = code
        self.revision = revision
    }

    /// The record of a request.
    public init(_ request: HandlerRequest, operation: String) {
        self.init(
            identity: request.identity,
            operation: operation,
            target: request.target.path,
            peer: request.remoteAddress ?? "",
            client: request.origin?.client ?? ""
        )
    }
}

/// Told of requests that were refused: by routes, by the link, by whoever guards a door.
public protocol AccessRecorder: Sendable {
    /// Called once a refused request. It never fails and never takes long; floods are counted rather than
    /// recorded one by one.
    func record(_ record: AccessRecord) async
}

/// Told of requests that change something, before and after.
public protocol AccessAuditor: AccessRecorder {
    /// Called before anything is done. What it throws, the caller is answered; nothing is done then.
    ///
    /// - Returns: a number for ``didPerform(_:begun:)``.
    func willPerform(_ record: AccessRecord) async throws -> Int64

    /// Called before the answer leaves. What it throws, the caller is answered instead.
    func didPerform(_ record: AccessRecord, begun: Int64) async throws
}

/// Records requests in an audit log.
public struct TrailAuditor: AccessAuditor {
    private let trail: AuditTrail

    public init(_ trail: AuditTrail) { self.trail = trail }

    public func record(_ record: AccessRecord) async {
        var entry = AuditRecord(record)
        // What has no status was not answered with a refusal, but what was tried was refused.
        if record.status < 400 { entry.outcome = .refused }
        await trail.note(refusal: entry)
    }

    public func willPerform(_ record: AccessRecord) async throws -> Int64 {
        try await trail.begin(AuditRecord(record))
    }

    public func didPerform(_ record: AccessRecord, begun: Int64) async throws {
        try await trail.finish(AuditRecord(record), begun: begun)
    }
}

extension AuditRecord {
    fileprivate init(_ access: AccessRecord) {
        self.init(
            who: access.identity?.name ?? "",
            kind: access.identity?.kind ?? .nobody,
            tenant: access.identity?.tenant,
            operation: access.operation,
            target: access.target,
            peer: access.peer,
            client: access.client,
            outcome: AuditOutcome(status: access.status),
            status: access.status,
            code: access.code,
            revision: access.revision
        )
    }
}
#endif
