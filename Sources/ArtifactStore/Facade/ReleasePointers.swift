public import ClusterRole
public import Logging

/// Signs pointers to the releases a manager hands out, and signs them anew while they live.
///
/// It keeps no file: after a restart it signs again. Only the coordinator signs, so that a manager
/// that was deposed cannot keep workers at an old release for longer than one pointer lives.
public actor ReleasePointers {
    private let signers: [any ReleaseSigner]
    private let capability: WriteCapability
    private let lifetime: Duration
    private let time: any TimeSource
    private var pointers: [ContentDigest: SignedPointer] = [:]

    /// An hour: how long a worker can be kept from newer releases before it notices, against how long
    /// managers may be away before every worker says so.
    public static let standardLifetime: Duration = .seconds(3_600)
    /// The most pointers that are remembered. Those that are worn make room first.
    public static let maximumPointers = 4_096

    /// - Parameters:
    ///   - signers: the pointer keys; as many as the workers' root record asks for.
    ///   - capability: the coordinator's; nothing is signed once it is revoked.
    ///   - lifetime: how long a pointer says something. It is renewed when half of that passed.
    ///   - time: the clock of pointers.
    public init(
        signers: [any ReleaseSigner],
        capability: WriteCapability,
        lifetime: Duration = ReleasePointers.standardLifetime,
        time: any TimeSource = SystemTimeSource()
    ) {
        self.signers = signers
        self.capability = capability
        self.lifetime = lifetime
        self.time = time
    }

    /// A pointer to a release that is handed out now.
    ///
    /// - Throws: `ClusterRoleError` with code `revoked`, or what a signer throws.
    public func pointer(to signed: SignedRelease) async throws -> SignedPointer {
        let name = ContentDigest(of: signed.record)
        let now = time.now()
        if let made = pointers[name], now < made.pointer.isWorn { return made }
        _ = try capability.requireEpoch()
        let made = try await SignedPointer.signed(
            ReleasePointer(to: signed, issued: now, expires: now + lifetime),
            by: signers
        )
        if pointers.count >= Self.maximumPointers {
            pointers = pointers.filter { now < $0.value.pointer.isWorn }
        }
        if pointers.count < Self.maximumPointers { pointers[name] = made }
        return made
    }
}

/// What a manager hands out beside releases: its root records and its pointers.
public struct ReleaseTrust: Sendable {
    /// The chain of root records.
    public let roots: RootRecords
    /// Signs pointers; `nil` on a manager that has no pointer key.
    public let pointers: ReleasePointers?
    private let logger: Logger

    /// Both, or root records alone.
    public init(
        roots: RootRecords = RootRecords(),
        pointers: ReleasePointers?,
        logger: Logger = Logger(label: "reeve.artifacts.trust")
    ) {
        self.roots = roots
        self.pointers = pointers
        self.logger = logger
    }

    /// - Parameters:
    ///   - offered: the release the asking worker is offered now; `nil` if there is none.
    ///   - version: of the root record the worker has.
    /// - Returns: without a pointer if none can be signed here now.
    /// - Throws: `CancellationError`.
    public func answer(
        for offered: SignedRelease?,
        afterRoot version: Int64
    ) async throws -> TrustAnswer {
        var pointer: SignedPointer?
        do {
            if let offered { pointer = try await pointers?.pointer(to: offered) }
        } catch let error as CancellationError {
            throw error
        } catch {
            // Not the coordinator, or the signer is away: what there is is handed out all the same.
            logger.warning("No pointer could be signed.", metadata: ["error": "\(error)"])
        }
        return TrustAnswer(roots: roots.records(after: version), pointer: pointer)
    }
}
