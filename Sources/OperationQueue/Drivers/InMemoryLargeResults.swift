public import ClusterRole
public import DeviceRegistry
internal import Synchronization

/// The uploads of one execution, with their bytes.
struct InMemoryUploads: Sendable {
    var state = ResultUploads()
    var chunks: [UploadID: [[UInt8]]] = [:]
}

extension InMemoryOperationState {
    /// Takes a piece of a large result; returns the reason if it is refused.
    mutating func take(
        _ chunk: ResultChunk,
        of operation: OperationID,
        by entry: InboxEntry,
        devices: InMemoryDeviceStorage
    ) -> String? {
        let identity = entry.identity
        guard let number = number(of: operation), let known = activities[number],
            known.activity.tenant == identity.tenant
        else { return "unknown operation" }
        guard addresses(known, identity.device, identity.incarnation, devices: devices) else {
            return "not addressed"
        }
        let target = InMemoryActivity.Target(
            device: identity.device,
            incarnation: identity.incarnation
        )
        var uploads = known.uploads[target] ?? InMemoryUploads()
        switch uploads.state.on(chunk, receivedAt: entry.receivedAt) {
        case .refuse(let reason): return reason
        case .ignore: return nil
        case .store(let upload, let forgotten):
            uploads.chunks[upload.id, default: []].append(chunk.bytes)
            for id in forgotten { uploads.chunks[id] = nil }
            activities[number]?.uploads[target] = uploads
            return nil
        }
    }

    /// Forgets unfinished uploads begun before `time`, at most `limit`.
    mutating func clearUploads(begunBefore time: Timestamp, limit: Int) -> Int {
        var cleared = 0
        for number in activities.keys.sorted() {
            let all = activities[number]?.uploads ?? [:]
            for (target, uploads) in all.sorted(by: { $0.key.device < $1.key.device }) {
                let old = uploads.state.uploads.filter { !$0.isComplete && $0.begunAt < time }
                    .prefix(limit - cleared).map(\.id)
                if old.isEmpty { continue }
                cleared += old.count
                var kept = uploads
                for id in old { kept.chunks[id] = nil }
                kept.state = ResultUploads(kept.state.uploads.filter { !old.contains($0.id) })
                activities[number]?.uploads[target] = kept.chunks.isEmpty ? nil : kept
            }
            if cleared >= limit { break }
        }
        return cleared
    }
}

extension InMemoryOperationStorage {
    public func largeResult(
        of activity: ActivityID,
        on device: DeviceID,
        tenant: TenantID
    ) async throws -> LargeResult? {
        state.withLock { state in
            guard let number = state.number(of: activity, tenant: tenant),
                let entry = state.activities[number]
            else { return nil }
            let found = entry.uploads.compactMap { target, uploads in
                target.device == device ? uploads.state.complete.map { (target, $0) } : nil
            }
            return found.max { $0.1.receivedAt < $1.1.receivedAt }.map { target, upload in
                LargeResult(
                    upload,
                    of: ExecutionID(
                        operation: entry.activity.operation.id,
                        incarnation: target.incarnation,
                        device: device
                    )
                )
            }
        }
    }

    public func chunk(
        _ index: Int32,
        of result: LargeResult,
        tenant: TenantID
    ) async throws -> [UInt8]? {
        state.withLock { state in
            let target = InMemoryActivity.Target(
                device: result.execution.device,
                incarnation: result.execution.incarnation
            )
            guard let number = state.number(of: result.execution.operation),
                let entry = state.activities[number], entry.activity.tenant == tenant,
                let chunks = entry.uploads[target]?.chunks[result.upload],
                chunks.indices.contains(Int(index))
            else { return nil }
            return chunks[Int(index)]
        }
    }

    public func clearUploads(
        begunBefore time: Timestamp,
        limit: Int,
        epoch: Epoch
    ) async throws -> Int {
        try ledger.guarded(epoch: epoch) { _ in
            ([], state.withLock { $0.clearUploads(begunBefore: time, limit: max(0, limit)) })
        }.result
    }
}

extension LargeResult {
    /// A complete upload, as readers know it.
    package init(_ upload: ResultUploads.Upload, of execution: ExecutionID) {
        self.init(
            execution: execution,
            upload: upload.id,
            bytes: upload.bytes,
            chunks: upload.chunks,
            digest: upload.digest ?? [],
            receivedAt: upload.receivedAt
        )
    }
}
