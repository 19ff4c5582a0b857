internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension OperationStorageConformance {
    /// The entries of an upload in chunks of these sizes; the last carries the digest.
    private static func upload(
        _ sizes: [Int],
        of operation: DeviceOperation,
        by row: DeviceRow,
        fill: UInt8,
        _ scene: StoreScene,
        at time: Timestamp? = nil
    ) -> [InboxEntry] {
        let id = UploadID(from: scene.random)
        return sizes.enumerated().map { index, size in
            let isLast = index == sizes.count - 1
            let chunk = ResultChunk(
                upload: id,
                index: Int32(index),
                bytes: Array(repeating: fill &+ UInt8(truncatingIfNeeded: index), count: size),
                digest: isLast ? Array(repeating: fill, count: ResultChunk.digestBytes) : nil
            )
            return scene.entry(row, .resultChunk(operation.id, chunk: chunk), at: time)
        }
    }

    private static func read(
        _ operation: DeviceOperation,
        _ row: DeviceRow,
        of scene: StoreScene,
        from reader: (any LargeResultReader)? = nil
    ) async throws -> (result: LargeResult, chunks: [[UInt8]])? {
        let reader = reader ?? scene.operations
        let found = try await reader.largeResult(
            of: operation.activity,
            on: row.id,
            tenant: scene.tenant
        )
        guard let found else { return nil }
        var chunks: [[UInt8]] = []
        for index in 0..<found.chunks {
            let chunk = try await reader.chunk(index, of: found, tenant: scene.tenant)
            chunks.append(try scene.check.some(chunk, "chunk \(index) of \(found.chunks)"))
        }
        return (found, chunks)
    }

    static func keepsLargeResults(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: rows)
        let sizes = [ResultChunk.maximumBytes, ResultChunk.maximumBytes, 7]
        let entries = upload(sizes, of: operation, by: rows[0], fill: 40, scene)
        let before = try await scene.revision()
        for entry in entries.dropLast() { try await scene.apply(entry) }
        try scene.check.equal(
            try await scene.revision(),
            before,
            "the revision after chunks, which no replica holds"
        )
        try scene.check.isTrue(
            try await read(operation, rows[0], of: scene) == nil,
            "no large result before its last chunk"
        )
        // The last chunk and the result come together, as a worker accepts them.
        let end = scene.now + .seconds(9)
        var last = entries[2]
        last.receivedAt = end
        let result = scene.result(.completed, of: operation, by: rows[0], detail: "{}", at: end)
        let receipt = try await scene.apply(last, result)
        try scene.check.equal(receipt.applied, 2, "applied of the last chunk and the result")
        let (found, chunks) = try scene.check.some(
            try await read(operation, rows[0], of: scene),
            "the large result"
        )
        try scene.check.equal(found.bytes, Int64(sizes.reduce(0, +)), "its bytes")
        try scene.check.equal(found.digest, Array(repeating: 40, count: 32), "its digest")
        try scene.check.equal(found.receivedAt, end, "when its last byte had come")
        try scene.check.equal(
            found.execution,
            ExecutionID(
                operation: operation.id,
                incarnation: rows[0].incarnation,
                device: rows[0].id
            ),
            "its execution"
        )
        try scene.check.equal(chunks.map(\.count), sizes, "the sizes of its chunks")
        try scene.check.isTrue(
            chunks.enumerated().allSatisfy { index, bytes in
                bytes.allSatisfy { $0 == 40 + UInt8(index) }
            },
            "the chunks read back are those that were sent"
        )
        try scene.check.isTrue(
            try await read(operation, rows[1], of: scene) == nil,
            "no large result of the other device"
        )
        let foreign = try await scene.operations.largeResult(
            of: operation.activity,
            on: rows[0].id,
            tenant: scene.otherTenant
        )
        try scene.check.isNil(foreign, "the large result in another tenant")
        let foreignChunk = try await scene.operations.chunk(
            0,
            of: found,
            tenant: scene.otherTenant
        )
        try scene.check.isNil(foreignChunk, "a chunk in another tenant")
        guard let reopen = scene.store.reopen else { return }
        let again = try await reopen()
        let kept = try await read(operation, rows[0], of: scene, from: again.operations)
        try await again.close()
        try scene.check.equal(kept?.chunks, chunks, "the chunks after a restart")
    }

    static func refusesWrongChunks(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: [rows[0]])
        let entries = upload([5, 5, 5], of: operation, by: rows[0], fill: 1, scene)
        func rejected(_ entry: InboxEntry, _ what: String) async throws {
            let receipt = try await scene.apply(entry)
            try scene.check.equal(receipt.rejected, 1, "rejected: \(what)")
        }
        try await rejected(entries[1], "the second chunk before the first")
        try await scene.apply(entries[0])
        try await rejected(entries[2], "the third chunk before the second")
        let stranger = upload([5], of: operation, by: rows[1], fill: 1, scene)
        try await rejected(stranger[0], "a chunk of a device that is not addressed")
        var unknown = operation
        unknown.id = OperationID(from: scene.random)
        let lost = upload([5], of: unknown, by: rows[0], fill: 1, scene)
        try await rejected(lost[0], "a chunk of an operation that does not exist")
        for entry in [entries[0], entries[1], entries[1], entries[2], entries[0]] {
            let receipt = try await scene.apply(entry)
            try scene.check.equal(receipt.rejected, 0, "rejected of chunks sent again")
        }
        let found = try await read(operation, rows[0], of: scene)
        try scene.check.equal(found?.result.bytes, 15, "bytes after repetitions")
        try scene.check.equal(
            found?.chunks,
            [1, 2, 3].map { Array(repeating: $0, count: 5) },
            "the chunks after repetitions"
        )
        let late = upload([3], of: operation, by: rows[0], fill: 9, scene)
        try await rejected(late[0], "another upload after the first was complete")
    }

    static func keepsUploadsApart(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        // Begun at two workers; the chunks arrive in a mixture, and the one begun first ends later.
        let first = upload([4, 4], of: operation, by: row, fill: 10, scene)
        let second = upload(
            [4, 4],
            of: operation,
            by: row,
            fill: 20,
            scene,
            at: scene.now + .seconds(1)
        )
        let spool = scene.newSpool()
        let receipt = try await scene.drain(
            [first[0], second[0], second[1], first[1]],
            from: 1,
            of: spool
        )
        try scene.check.equal(receipt.rejected, 1, "rejected: what comes after the complete one")
        try scene.check.equal(receipt.mark?.number, 4, "the mark passes it")
        let found = try await read(operation, row, of: scene)
        try scene.check.equal(found?.chunks.map { $0[0] }, [20, 21], "the first complete upload")
    }

    static func forgetsOldUploads(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"])
        let operation = try await scene.enqueue(to: rows)
        for (row, sizes) in zip(rows, [[4, 4], [4], [4, 4]]) {
            var entries = upload(sizes, of: operation, by: row, fill: 3, scene)
            if sizes.count > 1 { entries.removeLast() }
            if row.id == rows[2].id { entries[0].receivedAt = scene.now + .seconds(60) }
            for entry in entries { try await scene.apply(entry) }
        }
        let time = scene.now + .seconds(30)
        let cleared = try await scene.operations.clearUploads(
            begunBefore: time,
            limit: 10,
            epoch: scene.epoch
        )
        try scene.check.equal(cleared, 1, "forgotten: the one unfinished upload that is old")
        let again = try await scene.operations.clearUploads(
            begunBefore: time,
            limit: 10,
            epoch: scene.epoch
        )
        try scene.check.equal(again, 0, "forgotten the second time")
        let kept = try await read(operation, rows[1], of: scene)
        try scene.check.equal(kept?.chunks.count, 1, "chunks of the complete one")
        try await scene.expectFenced("forgetting uploads") { epoch in
            _ = try await scene.operations.clearUploads(begunBefore: time, limit: 1, epoch: epoch)
        }
    }
}
