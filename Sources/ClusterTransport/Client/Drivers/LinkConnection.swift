#if Server
internal import ArtifactStore
internal import AsyncHTTPClient
internal import ClusterMembership
internal import ClusterRole
internal import FoundationEssentials
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOSSL
internal import NodeCertificates
internal import Synchronization

/// One request on the link.
struct LinkRequest: Sendable {
    var method: HTTPMethod
    /// Below `/link/v1`, encoded, with the query.
    var path: String
    var body: [UInt8] = []
    var contentType = "application/json"
    var headers: [(String, String)] = []
    /// A body that is sent as it is read, with its length; instead of ``body``.
    var stream: (chunks: ByteChunks, length: Int64)?
    /// How long the manager is asked to wait before it answers.
    var wait: Duration = .zero
    /// Statuses beside 2xx that are answers rather than refusals.
    var accepted: Set<UInt> = []

    static func get(_ path: String) -> LinkRequest { LinkRequest(method: .GET, path: path) }

    static func post(_ path: String, json value: some Encodable) throws -> LinkRequest {
        LinkRequest(method: .POST, path: path, body: Array(try JSONEncoder().encode(value)))
    }

    static func post(_ path: String, bytes: [UInt8]) -> LinkRequest {
        LinkRequest(
            method: .POST,
            path: path,
            body: bytes,
            contentType: "application/octet-stream"
        )
    }
}

/// What a manager answered.
struct LinkAnswer: Sendable {
    var status: UInt
    var headers: HTTPHeaders
    var body: [UInt8]

    /// Decodes a JSON body.
    func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws(ClusterLinkError) -> Value
    {
        do {
            return try JSONDecoder().decode(type, from: Data(body))
        } catch {
            throw ClusterLinkError(
                .badAnswer,
                "A manager's answer is not the JSON it should be. Compare versions.",
                cause: error
            )
        }
    }
}

/// Sends requests to whichever manager answers.
///
/// It stays with the manager that answered last and goes on to the next when one does not answer or
/// says 502, 503 or 504. Each call tries each address once; whoever calls repeats, with a backoff.
final class LinkConnection: Sendable {
    private let shared: HeldHTTP
    private let rotating: RotatingHTTP?
    private let configuration: LinkClientConfiguration
    private let logger: Logger
    private let managers: Mutex<Managers>
    private let random: any RandomSource

    /// Where managers are thought to be.
    private struct Managers {
        var bases: [String]
        /// The one that answered last.
        var current: Int
    }

    /// The most managers that are dialled. 64: a list that is found is not believed to any length.
    private static let maximumManagers = 64

    init(
        client: HTTPClient,
        configuration: LinkClientConfiguration,
        random: any RandomSource,
        time: any TimeSource = SystemTimeSource(),
        logger: Logger
    ) throws(ClusterLinkError) {
        shared = HeldHTTP(client, isOwned: false)
        if let credentials = configuration.credentials {
            rotating = try RotatingHTTP(
                credentials,
                acceptedRoles: configuration.answeringRoles,
                time: time
            )
        } else {
            rotating = nil
        }
        self.configuration = configuration
        self.logger = logger
        self.random = random
        let bases = try configuration.addresses.map { address throws(ClusterLinkError) in
            let isSecure = address.hasPrefix("https://")
            guard isSecure || address.hasPrefix("http://") else {
                throw ClusterLinkError(
                    .invalidConfiguration,
                    "A manager's address is a URL such as https://10.0.0.4:8443, not \"\(address)\"."
                )
            }
            guard isSecure || configuration.credentials == nil else {
                throw ClusterLinkError(
                    .invalidConfiguration,
                    "With a certificate every address is https, not \"\(address)\"."
                )
            }
            return Self.base(of: address)
        }
        guard !bases.isEmpty || configuration.discovery != nil else {
            throw ClusterLinkError(
                .invalidConfiguration,
                "Name at least one manager's address for the link."
            )
        }
        // A fleet of workers with one list does not all dial its first entry.
        managers = Mutex(
            Managers(bases: bases, current: Int(random.number(below: UInt64(bases.count))))
        )
    }

    private static func base(of address: String) -> String {
        let url = address.contains("://") ? address : "http://" + address
        return (url.hasSuffix("/") ? String(url.dropLast()) : url) + "/link/v1"
    }

    /// Where managers are dialled now; for tests.
    var knownManagers: [String] { managers.withLock { $0.bases } }

    /// Looks for managers beside those that were configured. What fails leaves what is known.
    private func discover() async {
        guard let discovery = configuration.discovery else { return }
        do {
            let found = try await discovery.addresses().map(Self.base)
            var bases = configuration.addresses.map(Self.base)
            for base in found where !bases.contains(base) { bases.append(base) }
            bases = Array(bases.prefix(Self.maximumManagers))
            guard !bases.isEmpty else { return }
            let first = Int(random.number(below: UInt64(bases.count)))
            managers.withLock { managers in
                guard managers.bases != bases else { return }
                managers = Managers(bases: bases, current: first)
            }
        } catch {
            logger.debug("Managers could not be looked for", metadata: ["error": "\(error)"])
        }
    }

    /// Sends a request and keeps the whole answer in memory.
    ///
    /// - Throws: ``ClusterLinkError``; `CancellationError` when the task is cancelled.
    func send(_ request: LinkRequest) async throws -> LinkAnswer {
        try await attempt(request) { response, _ in
            let buffer = try await response.body.collect(
                upTo: self.configuration.maximumAnswerBytes
            )
            return LinkAnswer(
                status: response.status.code,
                headers: response.headers,
                body: Array(buffer.readableBytesView)
            )
        }
    }

    /// Sends a request and hands the answer on while it arrives.
    ///
    /// - Returns: the answer, and the client that must be held until its last byte.
    func open(_ request: LinkRequest) async throws -> (HTTPClientResponse, HeldHTTP) {
        try await attempt(request) { ($0, $1) }
    }

    var releaseWait: Duration { configuration.releaseWait }
    var bundleTimeout: Duration { configuration.bundleTimeout }

    /// Begins the next call with another manager, if there is one.
    func moveOn() {
        managers.withLock { $0.current = ($0.current + 1) % max(1, $0.bases.count) }
    }

    private func attempt<Answer>(
        _ request: LinkRequest,
        _ read: (HTTPClientResponse, HeldHTTP) async throws -> Answer
    ) async throws -> Answer {
        if managers.withLock({ $0.bases.isEmpty }) { await discover() }
        let (bases, first) = managers.withLock { ($0.bases, $0.current) }
        var failure = ClusterLinkError(.unreachable, "No manager answered.")
        for offset in bases.indices {
            let index = (first + offset) % bases.count
            do {
                let answer = try await exchange(request, with: bases[index], read)
                managers.withLock { if $0.bases == bases { $0.current = index } }
                return answer
            } catch let error as ClusterLinkError {
                guard error.isAnotherManagersTurn else { throw error }
                failure = error
            } catch {
                try Task.checkCancellation()
                failure = Self.failure(error, at: bases[index])
            }
            logger.debug(
                "A manager did not answer",
                metadata: ["address": "\(bases[index])", "error": "\(failure)"]
            )
        }
        // For the next call: the managers may be elsewhere by now.
        await discover()
        throw failure
    }

    /// What became of a request nobody answered.
    private static func failure(_ error: any Error, at base: String) -> ClusterLinkError {
        if error is NodeCertificateError || error is NIOSSLError || error is BoringSSLError {
            return ClusterLinkError(
                .untrusted,
                "The connection to \(base) was refused for a certificate: this node's, or the other's. "
                    + "The logs of both say which.",
                retryAfter: .seconds(2),
                cause: error
            )
        }
        return ClusterLinkError(
            .unreachable,
            "No manager answered at \(base). Check that one is running and that this machine reaches it.",
            retryAfter: .seconds(2),
            cause: error
        )
    }

    private func exchange<Answer>(
        _ request: LinkRequest,
        with base: String,
        _ read: (HTTPClientResponse, HeldHTTP) async throws -> Answer
    ) async throws -> Answer {
        var outgoing = HTTPClientRequest(url: base + request.path)
        outgoing.method = request.method
        if !configuration.token.isEmpty {
            outgoing.headers.add(name: "Authorization", value: "Bearer \(configuration.token)")
        }
        for (name, value) in request.headers { outgoing.headers.add(name: name, value: value) }
        if request.method != .GET {
            outgoing.headers.add(name: "Content-Type", value: request.contentType)
            outgoing.body =
                if let (chunks, length) = request.stream {
                    .stream(
                        chunks.map { ByteBuffer(bytes: $0) },
                        length: .known(length)
                    )
                } else {
                    .bytes(ByteBuffer(bytes: request.body))
                }
        }
        let limit = configuration.requestTimeout + request.wait
        let http = rotating?.http() ?? shared
        // Held to the end: a rotation meanwhile must not shut it down.
        defer { withExtendedLifetime(http) {} }
        let response = try await http.client.execute(
            outgoing,
            timeout: .milliseconds(limit.milliseconds),
            logger: nil
        )
        let status = response.status.code
        guard (200..<300).contains(status) || request.accepted.contains(status) else {
            throw try await refusal(response)
        }
        return try await read(response, http)
    }

    /// What is read of problem details (RFC 9457).
    private struct Problem: Decodable {
        var code: String
        var detail: String?
    }

    private func refusal(_ response: HTTPClientResponse) async throws -> ClusterLinkError {
        let status = Int(response.status.code)
        let body = try await response.body.collect(upTo: 64 << 10)
        let retryAfter = response.headers.first(name: "Retry-After").flatMap { Int64($0) }
        let problem = try? JSONDecoder().decode(
            Problem.self,
            from: Data(body.readableBytesView)
        )
        return ClusterLinkError(
            ClusterLinkError.Code(rawValue: problem?.code ?? "link.refused"),
            problem?.detail ?? "The manager refused with status \(status).",
            category: ErrorCategory(status: status),
            status: status,
            retryAfter: retryAfter.map { .seconds(max(1, min($0, 3_600))) }
        )
    }
}

extension ClusterLinkError {
    /// Whether another manager may answer where this one did not.
    fileprivate var isAnotherManagersTurn: Bool {
        status.map { [502, 503, 504].contains($0) } ?? false
    }
}

extension ErrorCategory {
    /// The category whose status this is.
    init(status: Int) {
        self =
            switch status {
            case 401: .unauthenticated
            case 403: .forbidden
            case 404: .notFound
            case 409: .conflict
            case 413: .tooLarge
            case 429: .overloaded
            case 502, 503, 504: .unavailable
            case 400..<500: .invalid
            default: .internalFailure
            }
    }
}

/// Encodes one segment of a path or one value of a query (RFC 3986): everything but unreserved bytes.
func percentEncoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var result: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"):
            result.append(byte)
        default:
            result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: result, as: UTF8.self)
}
#endif
