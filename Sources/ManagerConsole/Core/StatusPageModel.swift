#if Server
internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import HTTPHandling
internal import NotificationDispatch
internal import OperationQueue

/// What the status page shows. The template finds the members by name.
struct StatusPageModel: Sendable {
    struct Node: Sendable {
        let node: PageText
        let role: PageText
        let state: PageText
        let lag: PageText
        let heard: PageText

        init(_ member: Member, newest: Revision) {
            node = PageText(member.node.rawValue)
            role = PageText(member.role.rawValue)
            state = PageText(member.state.rawValue)
            lag = member.lag(behind: newest).map { PageText($0) } ?? PageText("–")
            heard = PageText(milliseconds: member.lastHeard.milliseconds)
        }
    }

    struct Channel: Sendable {
        let channel: PageText
        let number: PageText
        let root: PageText
        let applied: PageText
        let refused: PageText

        init(_ release: Release, words: [AppliedRelease]) {
            let newest = words.filter { $0.number == release.number }
            channel = PageText(release.channel.rawValue)
            number = PageText(release.number.rawValue)
            root = PageText(String(release.root.description.prefix(12)))
            applied = PageText(newest.count { $0.state == .applied })
            refused = PageText(newest.count { $0.state == .refused })
        }
    }

    struct Line: Sendable {
        let number: PageText
        let code: PageText
        let state: PageText
        let addressed: PageText
        let counts: PageText
        let created: PageText

        init(_ activity: AdminMessages.ActivityView) {
            number = PageText(activity.number)
            code = PageText(activity.code)
            state = PageText(activity.state)
            addressed = PageText(activity.addressed)
            let counts = activity.counts.sorted { $0.key < $1.key }
            self.counts = PageText(counts.map { "\($0.value) \($0.key)" }.joined(separator: ", "))
            created = PageText(milliseconds: activity.createdAt)
        }
    }

    let style: PageText
    let node: PageText
    let role: PageText
    let epoch: PageText
    let revision: PageText
    let devices: PageText
    let now: PageText
    let wakes: PageText
    let nodes: [Node]
    let channels: [Channel]
    let activities: [Line]

    /// The most channels and activities on the page: it is a glance; the API has the rest.
    static let maximumRows = 20

    init(_ services: AdminServices, tenant: TenantID) async throws {
        let status = try await services.status(of: tenant)
        let newest = try await services.cluster.revisions.current()
        style = PageText(statusStyle)
        node = PageText(status.node)
        role = PageText(status.role)
        epoch = PageText(status.epoch.map { "epoch \($0)" } ?? "not the coordinator")
        revision = PageText(newest.number)
        devices = PageText(status.devices)
        now = PageText(milliseconds: services.time.now().milliseconds)
        wakes = PageText(
            status.wakes.map {
                "\($0.sent) sent, \($0.coalesced) coalesced, \($0.retried) retried, "
                    + "\($0.abandoned) abandoned, \($0.foundByPolling) found by polling, "
                    + "\($0.deadTokens) dead tokens."
            } ?? "This node wakes nobody."
        )
        nodes = try await services.cluster.nodes(at: newest).map { Node($0, newest: newest) }
        channels = try await Self.channels(services.releases, tenant)
        let page = try await services.operations.activities.activities(
            limit: Self.maximumRows,
            tenant: tenant
        )
        activities = page.activities.map { Line(AdminMessages.ActivityView($0)) }
    }

    private static func channels(
        _ releases: AdminServices.Releases?,
        _ tenant: TenantID
    ) async throws -> [Channel] {
        guard let publisher = releases?.publisher else { return [] }
        var result: [Channel] = []
        for name in try await publisher.channels(of: tenant, after: nil, limit: maximumRows) {
            guard let newest = try await publisher.latest(of: name, tenant: tenant) else {
                continue
            }
            let words = try await publisher.acknowledgements(of: name, tenant: tenant)
            result.append(Channel(newest.release, words: words))
        }
        return result
    }
}
#endif
