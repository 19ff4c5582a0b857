#if Server && SQLite
internal import ArtifactStore
internal import ClusterRole
internal import HTTPHandling

/// What an operator does with a worker's channels, with the node's own token:
///
/// | route | does |
/// |--|--|
/// | `POST /channels/{channel}/apply` | looks now, and takes what is there, whatever the mode says |
/// | `POST /channels/{channel}/check` | looks now |
/// | `POST /channels/{channel}/verify` | reads every file of the active release, and mends it |
/// | `PUT /channels/{channel}/mode` | `{"mode": "manual"}` or `{"mode": "automatic"}`, until the next start |
///
/// Each answers with the channel's report. A channel's slash is written `%2F`.
struct ChannelRoutes {
    private let artifacts: ArtifactSet

    init(_ artifacts: ArtifactSet) { self.artifacts = artifacts }

    func add(to table: inout RouteTable) throws {
        try on("apply", &table) { _ = try await $0.applyNow() }
        try on("check", &table) { _ = try await $0.syncOnce() }
        try on("verify", &table) { _ = try await $0.verifyFiles(readingAll: true) }
        let artifacts = artifacts
        try table.put(
            "/channels/{channel}/mode",
            operationID: "channelMode",
            access: .permission(.operate)
        ) { request in
            let sync = try Self.sync(request, artifacts)
            let body: ModeBody = try await request.decode()
            await sync.setMode(body.mode)
            return try .json(ChannelReport(sync.status))
        }
    }

    private struct ModeBody: Codable { let mode: SyncMode }

    private func on(
        _ verb: String,
        _ table: inout RouteTable,
        _ action: @escaping @Sendable (ArtifactSync) async throws -> Void
    ) throws {
        let artifacts = artifacts
        try table.post(
            "/channels/{channel}/\(verb)",
            operationID: "channel-\(verb)",
            access: .permission(.operate)
        ) { request in
            let sync = try Self.sync(request, artifacts)
            try await action(sync)
            return try .json(ChannelReport(sync.status))
        }
    }

    private static func sync(
        _ request: HandlerRequest,
        _ artifacts: ArtifactSet
    ) throws -> ArtifactSync {
        let name: String = try request.parameters.require("channel")
        let channel = try ChannelName(validating: name)
        guard let sync = artifacts.sync(of: channel) else {
            throw ArtifactStoreError(
                .notFound,
                "This node does not keep \(channel). Its configuration names the channels it keeps."
            )
        }
        return sync
    }
}
#endif
