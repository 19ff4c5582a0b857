internal import ClusterRole
internal import DeviceRegistry

/// The contract of `AuditLog`, `IdentityStorage` and of who owns devices (`OwnedDeviceReader`).
public struct AccessConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("Access", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("entries are numbered without gaps and chained", chains),
        .init("concurrent appends keep one chain", chainsTogether),
        .init("pages go newest first and filters hold", pages),
        .init("the oldest entries go, by age and by count, and the rest still verifies", purges),
        .init("an old epoch appends, purges, adds and removes nothing", refusesOldEpoch),
        .init(
            "identities are found by digest, listed by tenant, and gone at once",
            keepsIdentities
        ),
        .init("a name is taken once a tenant", takesNamesOnce),
        .init("an owner's devices are listed in order, in pages, in his tenant", listsOwned),
        .init("removing or enrolling a device anew ends its ownership", endsOwnership),
        .init("owners, identities and the audit log are there after a restart", survivesReopening),
    ]

    // MARK: The audit log

    private static func audit(_ scene: StoreScene) throws -> any AuditLog {
        try scene.needs(\.audit, "AuditLog")
    }

    private static func record(
        _ operation: String,
        _ scene: StoreScene,
        who: String = "alice",
        tenant: TenantID? = nil,
        at seconds: Int = 0
    ) -> AuditRecord {
        AuditRecord(
            at: scene.now + .seconds(seconds),
            who: who,
            kind: .administrator,
            tenant: tenant ?? scene.tenant,
            operation: operation,
            target: "/devices/d-1",
            peer: "10.0.0.1",
            client: "192.0.2.7",
            outcome: .done,
            status: 200,
            code: "",
            revision: "r",
            begun: 3,
            suppressed: 2
        )
    }

    private static func chains(_ scene: StoreScene) async throws {
        let log = try audit(scene)
        let before = try await scene.revision()
        var stranger = record("b", scene)
        stranger.tenant = nil
        stranger.begun = nil
        let records = [record("a", scene), stranger, record("c", scene)]
        let first = try await log.append(Array(records[..<2]), epoch: scene.epoch)
        let second = try await log.append(Array(records[2...]), epoch: scene.epoch)
        let all = first + second
        try scene.check.equal(all.map(\.number), [1, 2, 3], "the numbers")
        try scene.check.equal(all.map(\.record), records, "the records")
        try scene.check.equal(
            try await log.entries(after: 0, limit: 10),
            all,
            "the entries read back"
        )
        var chain = AuditChain(after: .origin)
        for entry in all {
            try scene.check.isTrue(chain.onEntry(entry), "entry \(entry.number) follows")
        }
        try scene.check.equal(
            try await log.auditBounds(),
            AuditBounds(floor: .origin, head: chain.mark),
            "the bounds"
        )
        try scene.check.equal(try await scene.revision(), before, "the revision: none is taken")
    }

    private static func chainsTogether(_ scene: StoreScene) async throws {
        let log = try audit(scene)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<40 {
                group.addTask {
                    _ = try await log.append([record("op-\(index)", scene)], epoch: scene.epoch)
                }
            }
            try await group.waitForAll()
        }
        let found = try await AuditReader(log: log).verify()
        try scene.check.equal(found.entries, 40, "entries")
        try scene.check.isTrue(found.isWhole, "the log is whole")
    }

    private static func pages(_ scene: StoreScene) async throws {
        let log = try audit(scene)
        let other = scene.otherTenant
        _ = try await log.append(
            [
                record("a", scene), record("b", scene, who: "bob", at: 10),
                record("a", scene, tenant: other, at: 20), record("a", scene, at: 30),
            ],
            epoch: scene.epoch
        )
        func numbers(
            _ filter: AuditFilter,
            before: Int64? = nil,
            limit: Int = 10
        ) async throws -> [Int64] {
            try await log.entries(matching: filter, before: before, limit: limit)
                .entries.map(\.number)
        }
        try scene.check.equal(try await numbers(AuditFilter()), [4, 3, 2, 1], "everything")
        try scene.check.equal(try await numbers(AuditFilter(), limit: 2), [4, 3], "a page")
        try scene.check.equal(try await numbers(AuditFilter(), before: 3), [2, 1], "the next page")
        try scene.check.equal(try await numbers(AuditFilter(who: "bob")), [2], "by caller")
        try scene.check.equal(
            try await numbers(AuditFilter(since: scene.now + .seconds(20))),
            [4, 3],
            "by time"
        )
        try scene.check.equal(try await numbers(AuditFilter(operation: "b")), [2], "by operation")
        try scene.check.equal(try await numbers(AuditFilter(outcome: .refused)), [], "by outcome")
        try scene.check.equal(try await numbers(AuditFilter(tenant: other)), [3], "by tenant")
        let page = try await log.entries(matching: AuditFilter(), before: nil, limit: 4)
        let rest = try await log.entries(matching: AuditFilter(), before: page.next, limit: 4)
        try scene.check.equal(rest.entries, [], "behind the last page")
        try scene.check.equal(rest.next, nil, "the last page's next")
    }

    private static func purges(_ scene: StoreScene) async throws {
        let log = try audit(scene)
        let records = (0..<10).map { record("op", scene, at: $0) }
        let all = try await log.append(records, epoch: scene.epoch)
        func purge(before seconds: Int, keeping count: Int, limit: Int = 100) async throws -> Int {
            try await log.purgeAudit(
                before: scene.now + .seconds(seconds),
                keepingAtMost: count,
                limit: limit,
                epoch: scene.epoch
            )
        }
        try scene.check.equal(try await purge(before: 3, keeping: 100, limit: 2), 2, "a batch")
        try scene.check.equal(try await purge(before: 3, keeping: 100), 1, "the rest by age")
        try scene.check.equal(try await purge(before: 0, keeping: 5), 2, "by count")
        try scene.check.equal(try await purge(before: 0, keeping: 5), 0, "nothing more")
        try scene.check.equal(try await log.auditBounds().floor, all[4].mark, "the floor")
        try scene.check.equal(
            try await log.entries(after: 0, limit: 100),
            Array(all[5...]),
            "what is kept"
        )
        let found = try await AuditReader(log: log).verify()
        try scene.check.equal(found.entries, 5, "entries verified")
        try scene.check.isTrue(found.isWhole, "the rest is whole")
        let page = try await log.entries(matching: AuditFilter(who: "none"), before: nil, limit: 9)
        try scene.check.equal(page.next, nil, "a page ends at the floor")
        let next = try await log.append([record("later", scene)], epoch: scene.epoch)
        try scene.check.equal(next.map(\.number), [11], "numbers go on")
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let log = try audit(scene)
        let identities = try identities(scene)
        let first = try await log.append([record("a", scene)], epoch: scene.epoch)
        let kept = identity("kept", scene)
        try await identities.add(kept, epoch: scene.epoch)
        try await scene.expectFenced("append") {
            _ = try await log.append([record("b", scene)], epoch: $0)
        }
        try await scene.expectFenced("purge") {
            _ = try await log.purgeAudit(
                before: .distantFuture,
                keepingAtMost: 0,
                limit: 10,
                epoch: $0
            )
        }
        try await scene.expectFenced("add") {
            try await identities.add(identity("late", scene), epoch: $0)
        }
        try await scene.expectFenced("remove") {
            _ = try await identities.removeIdentity("kept", tenant: scene.tenant, epoch: $0)
        }
        try scene.check.equal(try await log.entries(after: 0, limit: 9), first, "the log")
        try scene.check.equal(
            try await identities.identities(tenant: scene.tenant),
            [kept],
            "the identities"
        )
    }

    // MARK: Identities

    private static func identities(_ scene: StoreScene) throws -> any IdentityStorage {
        try scene.needs(\.identities, "IdentityStorage")
    }

    private static func identity(
        _ name: String,
        _ scene: StoreScene,
        tenant: TenantID? = nil
    ) -> StoredIdentity {
        StoredIdentity(
            name: IdentityName(rawValue: name),
            tenant: tenant ?? scene.tenant,
            kind: .administrator,
            permissions: [.read, .operate],
            digest: scene.random.bytes(32),
            createdAt: scene.now,
            createdBy: "alice",
            expiresAt: scene.now + .seconds(60)
        )
    }

    private static func keepsIdentities(_ scene: StoreScene) async throws {
        let storage = try identities(scene)
        let (bob, ann) = (identity("bob", scene), identity("ann", scene))
        let foreign = identity("bob", scene, tenant: scene.otherTenant)
        for one in [bob, ann, foreign] { try await storage.add(one, epoch: scene.epoch) }
        try scene.check.equal(
            try await storage.identities(tenant: scene.tenant),
            [ann, bob],
            "the tenant's identities"
        )
        try scene.check.equal(
            try await storage.identity(digest: foreign.digest),
            foreign,
            "the identity of a digest"
        )
        let wasKnown = try await storage.removeIdentity(
            "bob",
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        try scene.check.isTrue(wasKnown, "there was one")
        let again = try await storage.removeIdentity(
            "bob",
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        try scene.check.isTrue(!again, "there is none any more")
        let gone = try await storage.identity(digest: bob.digest)
        try scene.check.isTrue(gone == nil, "a removed identity's token is worth nothing")
        let other = try await storage.identity(digest: foreign.digest)
        try scene.check.isTrue(other == foreign, "another tenant's identity stays")
    }

    private static func takesNamesOnce(_ scene: StoreScene) async throws {
        let storage = try identities(scene)
        let first = identity("ann", scene)
        try await storage.add(first, epoch: scene.epoch)
        do {
            try await storage.add(identity("ann", scene), epoch: scene.epoch)
            throw scene.check.failure("a name was taken twice")
        } catch let error as ClusterRoleError {
            try scene.check.equal(error.code, .identityExists, "the code")
        }
        try scene.check.equal(
            try await storage.identities(tenant: scene.tenant),
            [first],
            "the identities"
        )
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let entries = try await audit(scene).append([record("a", scene)], epoch: scene.epoch)
        let ann = identity("ann", scene)
        try await identities(scene).add(ann, epoch: scene.epoch)
        try await scene.enrol("d-1")
        try await scene.change(.setOwner("d-1", "ann"))
        let again = try await reopen()
        do {
            try scene.check.equal(
                try await again.audit?.entries(after: 0, limit: 9),
                entries,
                "the audit log"
            )
            try scene.check.equal(
                try await again.audit?.auditBounds().head,
                entries.last?.mark,
                "its head"
            )
            try scene.check.equal(
                try await again.identities?.identity(digest: ann.digest),
                ann,
                "the identity"
            )
            try scene.check.equal(
                try await again.owners?.devices(
                    ownedBy: "ann",
                    after: nil,
                    limit: 9,
                    tenant: scene.tenant
                ).map(\.id),
                ["d-1"],
                "the owner's devices"
            )
        } catch {
            try? await again.close()
            throw error
        }
        try await again.close()
    }
}
