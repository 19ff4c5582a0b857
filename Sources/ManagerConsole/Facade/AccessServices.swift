#if Server
public import ClusterRole
internal import HTTPHandling

extension AdminServices {
    /// Who may do what, and the record of who did.
    public struct Access: Sendable {
        /// Every request that changes something is recorded here before and after, every one that lacks the
        /// right to once.
        public var trail: AuditTrail
        /// Makes and revokes tokens; `nil` for a product that brings its own identities: the routes are then
        /// not there.
        public var identities: IdentityAdministration?
        /// Whose administrators see the entries of all tenants.
        public var operators: TenantID

        /// - Parameters:
        ///   - trail: the audit log.
        ///   - identities: makes and revokes tokens.
        ///   - operators: whose administrators see the entries of all tenants.
        public init(
            trail: AuditTrail,
            identities: IdentityAdministration? = nil,
            operators: TenantID = .standard
        ) {
            self.trail = trail
            self.identities = identities
            self.operators = operators
        }
    }
}

extension AuditTrail {
    func status() async throws -> AdminMessages.AuditStatus {
        AdminMessages.AuditStatus(
            head: try await reader.bounds().head.description,
            failed: failedEntries,
            suppressed: suppressedRefusals
        )
    }
}

/// An answer that names the revision of what was changed, which the audit entry names too.
protocol RevisionTelling {
    var revision: String { get }
}

extension AdminMessages.EnqueueAnswer: RevisionTelling {}
extension AdminMessages.MembersAnswer: RevisionTelling {}
extension AdminMessages.GroupQueryAnswer: RevisionTelling {}
extension AdminMessages.BackupAnswer: RevisionTelling {}
#endif
