#if Server
public import ClusterRole
public import Logging
internal import Metrics
public import ServiceLifecycle
internal import Synchronization

/// A node's credentials as they are now: read again whenever their files change, so that a certificate
/// is replaced under load by replacing its files.
///
/// Both ends of the link ask it for each new connection. A file that cannot be used leaves the last good
/// credentials in place, says so in ``status`` and the log, and is tried again. A revocation list
/// older than the one in use is such a file.
///
/// Running it (one service a node) is what watches the files; it also warns, in the log once a day and by
/// the gauge `reeve_certificate_expires_in_days`, of a certificate about to expire.
public final class CredentialSource: Service {
    /// The files.
    public let files: CertificateFiles
    private let interval: Duration
    private let warnBefore: Duration
    private let time: any TimeSource
    private let logger: Logger
    private let state: Mutex<State>

    fileprivate struct State {
        var credentials: NodeCredentials
        var contents: [String]
        var generation = 1
        var failures = 0
        var lastFailure: String?
        var warnedAt: Timestamp?
    }

    /// Reads the files.
    ///
    /// - Parameters:
    ///   - files: where they are.
    ///   - interval: how often ``run()`` looks whether they changed. 5 s: they are four small files.
    ///   - warnBefore: how long before its end a certificate is warned of. 14 days: time for a person.
    ///   - time: tells the time.
    ///   - logger: where it logs.
    /// - Throws: ``NodeCertificateError`` with `unreadable`, `noIdentity` or `wrongDomain`.
    public init(
        files: CertificateFiles,
        interval: Duration = .seconds(5),
        warnBefore: Duration = .seconds(14 * 86_400),
        time: any TimeSource = SystemTimeSource(),
        logger: Logger = Logger(label: "reeve.certificates")
    ) throws {
        self.files = files
        self.interval = interval
        self.warnBefore = warnBefore
        self.time = time
        self.logger = logger
        let contents = try files.contents()
        state = Mutex(State(credentials: try files.parse(contents), contents: contents))
    }

    /// The credentials in use.
    public var credentials: NodeCredentials { state.withLock { $0.credentials } }

    /// Grows with each change: cheap to compare before anything is made anew.
    public var generation: Int { state.withLock { $0.generation } }

    /// Both at once.
    public var current: (credentials: NodeCredentials, generation: Int) {
        state.withLock { ($0.credentials, $0.generation) }
    }

    /// How they stand.
    public var status: CertificateStatus {
        let now = time.now()
        return state.withLock { state in
            CertificateStatus(
                subject: state.credentials.peer.subject.description,
                serial: state.credentials.peer.serial,
                expires: state.credentials.peer.expires.milliseconds,
                daysLeft: Self.days(state.credentials.peer.expires - now),
                rotations: state.generation - 1,
                revocationList: state.credentials.trust.revocations?.number,
                lastFailure: state.lastFailure
            )
        }
    }

    /// Looks at the files now.
    ///
    /// - Returns: whether there are new credentials.
    /// - Throws: ``NodeCertificateError`` if the files changed and cannot be used; what was in use
    ///   stays in use.
    @discardableResult
    public func reload() throws -> Bool {
        do {
            let contents = try files.contents()
            let before = state.withLock { $0 }
            guard contents != before.contents else {
                state.withLock { $0.noteGood() }
                return false
            }
            let next = try files.parse(contents)
            try Self.refuseOlder(next, than: before.credentials)
            state.withLock { state in
                state.credentials = next
                state.contents = contents
                state.generation += 1
                state.warnedAt = nil
                state.noteGood()
            }
            logger.notice(
                "New credentials are in use",
                metadata: ["certificate": "\(next)", "expires": "\(next.peer.expires)"]
            )
            return true
        } catch {
            state.withLock { state in
                state.failures += 1
                state.lastFailure = "\(error)"
            }
            throw error
        }
    }

    /// Watches the files until graceful shutdown or cancellation.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                self.warn()
                do { try await self.time.sleep(for: self.interval) } catch { return }
                self.look()
            }
        }
    }

    private func look() {
        do {
            try reload()
        } catch {
            // The first time may be between the replacement of the certificate and that of its key.
            let failures = state.withLock { $0.failures }
            guard failures == 2 else { return }
            logger.error(
                "Changed certificate files cannot be used; the last good ones stay in use",
                metadata: ["error": "\(error)"]
            )
        }
    }

    /// Tells how long the certificate is still valid.
    func warn() {
        let now = time.now()
        let left = credentials.peer.expires - now
        Gauge(label: "reeve_certificate_expires_in_days").record(Self.days(left))
        guard left < warnBefore else { return }
        let isDue = state.withLock { state in
            if let warned = state.warnedAt, now - warned < .seconds(86_400) { return false }
            state.warnedAt = now
            return true
        }
        guard isDue else { return }
        logger.log(
            level: left <= .zero ? .error : .warning,
            left <= .zero
                ? "The node's certificate has expired; peers refuse it"
                : "The node's certificate expires soon; put a new one in its place",
            metadata: [
                "certificate": "\(credentials)", "days": "\(Self.days(left))",
                "file": "\(files.certificate)",
            ]
        )
    }

    private static func days(_ duration: Duration) -> Double {
        (Double(duration.milliseconds) / 86_400_000 * 100).rounded() / 100
    }

    private static func refuseOlder(
        _ next: NodeCredentials,
        than before: NodeCredentials
    ) throws(NodeCertificateError) {
        guard let known = before.trust.revocations,
            before.trust.trustDomain == next.trust.trustDomain
        else { return }
        guard let offered = next.trust.revocations, offered.number >= known.number else {
            throw NodeCertificateError(
                .unreadable,
                "The revocation list is older than the one in use, number \(known.number). Put the "
                    + "newest in its place."
            )
        }
    }
}

extension CredentialSource.State {
    fileprivate mutating func noteGood() {
        failures = 0
        lastFailure = nil
    }
}

/// How a node's credentials stand.
public struct CertificateStatus: Hashable, Sendable, Codable {
    /// The node its certificate names.
    public var subject: String
    public var serial: String
    /// In milliseconds since 1970.
    public var expires: Int64
    /// Negative once it has expired.
    public var daysLeft: Double
    /// How often new credentials were taken since the start.
    public var rotations: Int
    /// The number of the revocation list in use, if there is one.
    public var revocationList: Int64?
    /// Why the files, as they are now, cannot be used; `nil` if they are in use.
    public var lastFailure: String?
}
#endif
