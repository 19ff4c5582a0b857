#if Server
public import ClusterMembership
public import ClusterRole
public import HTTPHandling
internal import HTTPTypes
internal import Logging
internal import Synchronization

/// Hands a request to another manager and its answer back.
public protocol RequestForwarding: Sendable {
    /// Sends the request, with its body as it comes, to the manager at an address such as
    /// `10.0.0.4:8180`, and returns the answer, whatever its status, with its body as it comes.
    ///
    /// - Throws: anything, if there was no answer.
    func forward(_ request: HandlerRequest, to address: String) async throws -> HandlerResponse
}

/// Where the coordinator is, as a manager knows it now.
public enum CoordinatorLocation: Hashable, Sendable {
    /// This manager is it.
    case here
    /// Another one, at the address it advertises.
    case at(String, node: NodeID)
    /// Nobody is, or nobody knows; with the wait after which there may be one.
    case nowhere(retryAfter: Duration)
}

/// Answers on the coordinator, and on a manager that stands by hands requests on to the coordinator.
///
/// Mount it in front of the admin API of every manager. While there is no coordinator it answers 503 with
/// `Retry-After` and the code `link.no-coordinator`.
///
/// A request is handed on once: it carries ``hopField`` then, and a manager that gets it and is not the
/// coordinator answers 503 rather than hand it on again. Whoever sends that field himself gains nothing
/// but that answer. The caller's own credentials are handed on as they came, and judged by the
/// coordinator; an identity that only the connection proved (a client certificate) is not, so such callers
/// dial the coordinator themselves.
public final class CoordinatorForwarder: HTTPHandler, RouteListing {
    /// Says which manager handed the request on.
    public static let hopField = "Reeve-Forwarded-By"

    /// What a forwarder holds to; the defaults work.
    public struct Limits: Hashable, Sendable {
        /// The most requests handed on at once. 256: a quarter of what a node takes at once, so that a
        /// coordinator that hangs does not take the standby's own routes with it.
        public var maximumConcurrentRequests = 256
        /// The largest body handed on. 64 MiB: more than any route of the admin API takes.
        public var maximumBodyBytes = 64 << 20

        public init() {}
    }

    private let local: any HTTPHandler
    private let node: NodeID
    private let limits: Limits
    private let transport: any RequestForwarding
    private let location: @Sendable () async -> CoordinatorLocation
    private let underWay = Atomic<Int>(0)

    /// - Parameters:
    ///   - local: answers on the coordinator: the admin API.
    ///   - node: this manager.
    ///   - transport: how requests reach another manager.
    ///   - limits: of what is handed on.
    ///   - location: asked for each request; it answers from memory or nearly so. See
    ///     ``CoordinatorLocator``.
    public init(
        _ local: any HTTPHandler,
        node: NodeID,
        transport: any RequestForwarding,
        limits: Limits = Limits(),
        location: @escaping @Sendable () async -> CoordinatorLocation
    ) {
        self.local = local
        self.node = node
        self.transport = transport
        self.limits = limits
        self.location = location
    }

    public var routes: [RouteDescription] { (local as? any RouteListing)?.routes ?? [] }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        switch await location() {
        case .here:
            return try await local.handle(request)
        case .nowhere(let retryAfter):
            throw ClusterTransportError(
                .noCoordinator,
                "No manager is the coordinator now. Repeat the call.",
                retryAfter: retryAfter
            )
        case .at(let address, let other):
            if let name = HTTPField.Name(Self.hopField), request.headerFields[name] != nil {
                throw ClusterTransportError(
                    .notCoordinator,
                    "The request was handed on to \(node), which is not the coordinator: it changes just "
                        + "now. Repeat the call.",
                    retryAfter: .seconds(1)
                )
            }
            return try await handOn(request, to: address, of: other)
        }
    }

    private func handOn(
        _ request: HandlerRequest,
        to address: String,
        of other: NodeID
    ) async throws -> HandlerResponse {
        let count = underWay.add(1, ordering: .relaxed).newValue
        defer { underWay.subtract(1, ordering: .relaxed) }
        guard count <= limits.maximumConcurrentRequests else {
            throw HTTPHandlingError(
                .overloaded,
                "This manager hands on all the requests it may at once. Repeat the call.",
                retryAfter: .seconds(1)
            )
        }
        var outgoing = HandlerRequest(
            head: head(of: request),
            body: request.body.limited(to: limits.maximumBodyBytes),
            remoteAddress: request.remoteAddress,
            limits: request.limits,
            logger: request.logger
        )
        outgoing.untilCallerIsGone = request.untilCallerIsGone
        do {
            let forwarded = outgoing
            var response = try await request.whileCallerIsThere { [transport] in
                try await transport.forward(forwarded, to: address)
            }
            response.headerFields = Self.endToEnd(response.headerFields)
            return response
        } catch let error as HTTPHandlingError {
            throw error
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw ClusterTransportError(
                .coordinatorUnreachable,
                "The coordinator \(other) did not answer at \(address). The call may have been done or "
                    + "not: repeat it, with its Idempotency-Key if it has one.",
                retryAfter: .seconds(2),
                cause: error
            )
        }
    }

    /// The request's head as the coordinator gets it.
    private func head(of request: HandlerRequest) -> HTTPRequest {
        var head = request.head
        head.headerFields = Self.endToEnd(head.headerFields)
        if let name = HTTPField.Name(Self.hopField) {
            head.headerFields[name] = node.rawValue
        }
        if let from = request.remoteAddress, let name = HTTPField.Name("X-Forwarded-For") {
            let before = head.headerFields[name].map { "\($0), " } ?? ""
            head.headerFields[name] = before + from
        }
        return head
    }

    /// The fields without those that speak of one connection only (RFC 9110, 7.6.1).
    static func endToEnd(_ fields: HTTPFields) -> HTTPFields {
        var hopByHop: Set<String> = [
            "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
            "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host",
        ]
        if let named = fields[.connection] {
            for name in named.split(separator: ",") {
                hopByHop.insert(name.filter { $0 != " " }.lowercased())
            }
        }
        return HTTPFields(fields.filter { !hopByHop.contains($0.name.canonicalName) })
    }
}

/// Finds the coordinator: who holds the lease, and which address that member advertises.
///
/// What it found is believed for a second, so that a burst of requests does not become one of reads.
public final class CoordinatorLocator: Sendable {
    private let node: NodeID
    private let leases: any LeaseStore
    private let members: ClusterMembers
    private let clock: any TimeSource
    private let isCoordinator: @Sendable () -> Bool
    private let known = Mutex<(at: Duration, location: CoordinatorLocation)?>(nil)

    /// How long an answer is believed. 1 s: half of how often managers ask for the lease.
    public static let freshness = Duration.seconds(1)

    /// - Parameters:
    ///   - node: this manager.
    ///   - leases: who holds the lease.
    ///   - members: the managers' addresses.
    ///   - clock: its monotonic time is used.
    ///   - isCoordinator: whether this manager has the right to write now, by its own clock; see
    ///     `Coordinator.capability`.
    public init(
        node: NodeID,
        leases: any LeaseStore,
        members: ClusterMembers,
        clock: any TimeSource = SystemTimeSource(),
        isCoordinator: @escaping @Sendable () -> Bool
    ) {
        self.node = node
        self.leases = leases
        self.members = members
        self.clock = clock
        self.isCoordinator = isCoordinator
    }

    /// Where the coordinator is now.
    public func location() async -> CoordinatorLocation {
        // The one thing a manager knows for certain is its own right.
        if isCoordinator() { return .here }
        let now = clock.monotonic()
        if let known = known.withLock({ $0 }), now - known.at < Self.freshness {
            return known.location
        }
        let found = await look()
        known.withLock { $0 = (now, found) }
        return found
    }

    private func look() async -> CoordinatorLocation {
        let wait = LeaseTiming.standard.retry
        guard let lease = try? await leases.holder(), lease.holder != node,
            let member = try? await members.member(lease.holder), !member.address.isEmpty
        else { return .nowhere(retryAfter: wait) }
        return .at(member.address, node: lease.holder)
    }
}
#endif
