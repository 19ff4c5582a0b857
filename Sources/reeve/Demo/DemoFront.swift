#if Server && SQLite && Push
import ArgumentParser
import AsyncHTTPClient
import ClusterLink
import ClusterRole
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization
import UnixSignals
import WorkerCommandLine

/// The hidden command that stands in for a load balancer: a reverse proxy of the simplest kind.
struct FrontCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo-front",
        abstract: "Stands in for a load balancer in the demonstration.",
        shouldDisplay: false
    )

    @Option(help: "Where it listens on loopback.") var port: Int
    @Option(help: "PREFIX=ADDRESS,ADDRESS: who answers what begins with a prefix.")
    var route: [String]
    @Flag(help: "End when the parent process ends.") var exitWithParent = false

    func run() async throws {
        let routes = try route.map { text in
            guard let route = FrontRoute(text) else {
                throw ValidationError("--route takes PREFIX=ADDRESS,ADDRESS, not \(text).")
            }
            return route
        }
        var serving = ReeveServerConfiguration(address: .loopback(port: port))
        serving.limits.maximumConcurrentRequests = 4_096
        let server = try ReeveServer(
            configuration: serving,
            mounts: [HandlerMount("/", FrontHandler(routes))],
            logger: Logger(label: "front")
        )
        var services: [any Service] = [server]
        if exitWithParent { services.append(ParentWatch()) }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services,
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "front")
            )
        )
        try await group.run()
    }
}

/// Who answers the paths below a prefix.
struct FrontRoute: Sendable {
    let prefix: String
    /// Base addresses, such as `http://127.0.0.1:8280`.
    let upstreams: [String]

    init(prefix: String, upstreams: [String]) {
        self.prefix = prefix
        self.upstreams = upstreams
    }

    /// Reads `PREFIX=ADDRESS,ADDRESS`.
    init?(_ text: String) {
        guard let separator = text.firstIndex(of: "=") else { return nil }
        prefix = String(text[..<separator])
        upstreams = text[text.index(after: separator)...].split(separator: ",").map(String.init)
        guard prefix.hasPrefix("/"), !upstreams.isEmpty else { return nil }
    }

    /// The same as an argument.
    var argument: String { "\(prefix)=\(upstreams.joined(separator: ","))" }

    func takes(_ path: String) -> Bool { path == prefix || path.hasPrefix(prefix + "/") }
}

/// Passes requests on: what no route names is not there.
///
/// A caller with a token keeps its upstream while that answers, so that a device meets the worker that knows
/// what it has just reported. When an upstream does not answer, or says 502, 503 or 504, the next one is
/// asked: every call of the device API may be repeated.
struct FrontHandler: HTTPHandler {
    private let routes: [FrontRoute]
    private let client: HTTPClient
    private let turns = Turns()

    private final class Turns: Sendable {
        let next = Atomic<Int>(0)
    }

    /// Longer than the longest poll.
    private static let timeout = TimeAmount.seconds(90)
    private static let maximumAnswerBytes = 64 << 20
    /// What holds for one connection only, or is written anew (RFC 9110, section 7.6.1).
    private static let ownFields: Set<String> = [
        "connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding",
        "upgrade",
    ]

    init(_ routes: [FrontRoute], client: HTTPClient = LinkClient.standardHTTP) {
        self.routes = routes.sorted { $0.prefix.utf8.count > $1.prefix.utf8.count }
        self.client = client
    }

    func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        guard let route = routes.first(where: { $0.takes(request.target.path) }) else {
            throw HTTPHandlingError(
                .noRoute,
                "This load balancer passes nothing on to this path. Ask where it leads, or inside."
            )
        }
        let body = try await request.body.collect(upTo: request.limits.maximumBodyBytes)
        let first = start(of: request)
        var refusal: HandlerResponse?
        for offset in route.upstreams.indices {
            let upstream = route.upstreams[(first + offset) % route.upstreams.count]
            do {
                let answer = try await forward(request, body, to: upstream)
                guard [502, 503, 504].contains(answer.status.code) else { return answer }
                refusal = answer
            } catch {
                try Task.checkCancellation()
                request.logger.debug("\(upstream) does not answer: \(error)")
            }
        }
        guard let refusal else { throw NobodyAnswers() }
        return refusal
    }

    /// Where to begin: the same for the same caller, in turn for those without a token.
    private func start(of request: HandlerRequest) -> Int {
        guard let caller = request.headerFields[.authorization] else {
            return turns.next.wrappingAdd(1, ordering: .relaxed).newValue & 0xFFFF
        }
        // FNV-1a: stable, and spread well enough.
        let hash = caller.utf8.reduce(14_695_981_039_346_656_037 as UInt64) {
            ($0 ^ UInt64($1)) &* 1_099_511_628_211
        }
        return Int(hash >> 33)
    }

    private func forward(
        _ request: HandlerRequest,
        _ body: [UInt8],
        to upstream: String
    ) async throws -> HandlerResponse {
        var outgoing = HTTPClientRequest(url: upstream + (request.head.path ?? "/"))
        outgoing.method = .RAW(value: request.method.rawValue)
        for field in request.headerFields where !Self.ownFields.contains(field.name.canonicalName) {
            outgoing.headers.add(name: field.name.rawName, value: field.value)
        }
        if let address = request.remoteAddress {
            outgoing.headers.add(name: "X-Forwarded-For", value: address)
        }
        if !body.isEmpty || request.method == .post || request.method == .put {
            outgoing.body = .bytes(ByteBuffer(bytes: body))
        }
        let incoming = try await client.execute(outgoing, timeout: Self.timeout)
        let bytes = try await incoming.body.collect(upTo: Self.maximumAnswerBytes)
        var fields = HTTPFields()
        for (name, value) in incoming.headers {
            guard let name = HTTPField.Name(name), !Self.ownFields.contains(name.canonicalName)
            else { continue }
            fields.append(HTTPField(name: name, value: value))
        }
        return HandlerResponse(
            status: .init(code: Int(incoming.status.code)),
            headerFields: fields,
            body: bytes.readableBytes == 0 ? .none : .bytes(Array(bytes.readableBytesView))
        )
    }
}

/// No upstream of a route answered.
private struct NobodyAnswers: CodedError {
    let codeName = "front.nobody-answers"
    let message = "Nobody behind this load balancer answers. Repeat the call in a while."
    let category = ErrorCategory.unavailable
    var retryAfter: Duration? { .seconds(1) }
}
#endif
