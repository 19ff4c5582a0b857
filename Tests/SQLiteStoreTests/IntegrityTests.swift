#if SQLite
import ClusterRole
import DeviceRegistry
import Foundation
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

/// What a damaged or stolen file gives away.
final class IntegrityTests: XCTestCase {
    private func damage(
        _ statement: String,
        reading read:
            @escaping @Sendable (EmbeddedScene, DeviceRow, ActivityID) async throws -> Void
    ) async throws -> SQLiteStorageError? {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1", groups: ["fleet"])
        let receipt = try await scene.enqueue(scene.plan(.devices([row.id])))
        let work = try await scene.store.openWork(for: row.id, tenant: scene.tenant)
        let operation = try XCTUnwrap(work?.items.first).operation
        _ = try await scene.apply(
            row,
            .claim(
                operation.id,
                attempt: AttemptID(from: scene.random),
                leaseEnd: scene.now + .seconds(60)
            ),
            .information(.location, body: Array("[1,2]".utf8))
        )
        try await scene.store.close()
        try await withRawConnection(scene.file.path) { try $0.script(statement) }
        let again = try await EmbeddedScene.open(scene.file)
        let error = await storageError { try await read(again, row, receipt.activity) }
        try await again.store.close()
        return error
    }

    func test_aChangedRow_isReportedAndNotReturned() async throws {
        let readWork: @Sendable (EmbeddedScene, DeviceRow, ActivityID) async throws -> Void = {
            (scene, row, _) in
            _ = try await scene.store.openWork(for: row.id, tenant: scene.tenant)
        }
        let damages = [
            "UPDATE device SET polling = 1",
            "UPDATE membership SET joined = joined - 1",
            "UPDATE operation SET priority = priority + 1",
            "UPDATE payload SET bytes = x'01020304'",
            "UPDATE activity SET addressed = addressed + 1",
            "UPDATE target SET sum = sum + 1",
            "UPDATE execution SET version = version + 1",
            "UPDATE meta SET number = number + 1 WHERE name = 'revision'",
        ]
        for statement in damages {
            let error = try await damage(statement, reading: readWork)
            XCTAssertEqual(error?.code, .corruptRow, statement)
        }
        let information = try await damage("UPDATE information SET body = x'5b5d'") {
            (scene, row, _) in
            _ = try await scene.store.information(of: row.id, tenant: scene.tenant)
        }
        XCTAssertEqual(information?.code, .corruptRow)
        let pages = try await damage("UPDATE target_page SET first = 'd-0'") {
            (scene, _, activity) in
            _ = try await scene.store.executions(
                of: activity,
                after: nil,
                limit: 10,
                tenant: scene.tenant
            )
        }
        XCTAssertEqual(pages?.code, .corruptRow)
        let log = try await damage("UPDATE revision_log SET keys = x'0100'") { (scene, _, _) in
            let start = Revision(history: scene.store.history, number: 0)
            _ = try await scene.store.changes(after: start, limit: 10)
        }
        XCTAssertEqual(log?.code, .corruptRow)
    }

    func test_aStore_whoseEpochIsGone_isNotOpenedAtALowerOne() async throws {
        for statement in [
            "DELETE FROM meta WHERE name = 'epoch'",
            "UPDATE meta SET name = 'epocj' WHERE name = 'epoch'",
        ] {
            let scene = try await EmbeddedScene.open()
            try await scene.store.close()
            try await withRawConnection(scene.file.path) { try $0.script(statement) }
            let error = await storageError { _ = try await EmbeddedScene.open(scene.file) }
            XCTAssertEqual(error?.code, .corruptRow)
        }
    }

    func test_aChangedChunkOfALargeResult_isReportedAndNotReturned() async throws {
        for statement in [
            "UPDATE large_result_chunk SET bytes = x'ff' WHERE place = 1",
            "UPDATE large_result SET bytes = bytes + 1",
            "UPDATE group_polling SET frequency = frequency + 1",
        ] {
            let scene = try await EmbeddedScene.open()
            let row = try await scene.enrol("d-1")
            _ = try await scene.store.commit(
                .setGroupPollingFrequency(.everyone, .seconds(30)),
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: scene.now
            )
            let receipt = try await scene.enqueue(scene.plan(.devices([row.id])))
            let work = try await scene.store.openWork(for: row.id, tenant: scene.tenant)
            let operation = try XCTUnwrap(work?.items.first).operation.id
            let upload = UploadID(from: scene.random)
            let digest = [UInt8](repeating: 1, count: ResultChunk.digestBytes)
            _ = try await scene.apply(
                row,
                .resultChunk(
                    operation,
                    chunk: ResultChunk(upload: upload, index: 0, bytes: [1, 2])
                ),
                .resultChunk(
                    operation,
                    chunk: ResultChunk(upload: upload, index: 1, bytes: [3], digest: digest)
                )
            )
            try await scene.store.close()
            try await withRawConnection(scene.file.path) { try $0.script(statement) }
            let again = try await EmbeddedScene.open(scene.file)
            var read: [UInt8] = []
            let error = await storageError {
                _ = try await again.store.openWork(for: row.id, tenant: scene.tenant)
                let found = try await again.store.largeResult(
                    of: receipt.activity,
                    on: row.id,
                    tenant: scene.tenant
                )
                let result = try XCTUnwrap(found)
                for index in 0..<result.chunks {
                    read +=
                        try await again.store.chunk(
                            index,
                            of: result,
                            tenant: scene.tenant
                        ) ?? []
                }
            }
            XCTAssertEqual(error?.code, .corruptRow, statement)
            XCTAssertLessThan(read.count, 3)
            try await again.store.close()
        }
    }

    func test_aRejectedChunk_isKeptWithoutItsBytes() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        let chunk = ResultChunk(
            upload: UploadID(from: scene.random),
            index: 0,
            bytes: Array(repeating: 7, count: ResultChunk.maximumBytes)
        )
        let receipt = try await scene.apply(
            row,
            .resultChunk(OperationID(from: scene.random), chunk: chunk)
        )
        XCTAssertEqual(receipt.rejected, 1)
        let bytes = try await scene.store.file.read { connection in
            try connection.row("SELECT max(length(entry)) FROM rejection") { $0.int(0) }
        }
        XCTAssertLessThan(try XCTUnwrap(bytes), 1_000)
        try await scene.store.close()
    }

    func test_aPushRegistration_isNotReadableInTheFile() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        let address = "https://push.example/very-secret-token"
        let registration = PushRegistration(
            transport: "http",
            address: address,
            registeredAt: scene.now
        )
        _ = try await scene.apply(row, .registration(registration))
        let stored = try await scene.store.device(row.id, tenant: scene.tenant)
        XCTAssertEqual(stored?.push, registration)
        for suffix in ["", "-wal"] {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: scene.file.path + suffix))
            XCTAssertNil(bytes.range(of: Data("very-secret-token".utf8)), "in the file\(suffix)")
        }
        try await scene.store.close()
        let thief = try await EmbeddedScene.open(scene.file, key: 8)
        let error = await storageError {
            _ = try await thief.store.device(row.id, tenant: scene.tenant)
        }
        XCTAssertEqual(error?.code, .secrets)
        try await thief.store.close()
    }

    func test_aFileThatIsNoDatabase_isRefused() async throws {
        let file = try TemporaryFile()
        try Data(repeating: 0x41, count: 8_192).write(to: URL(fileURLWithPath: file.path))
        let error = await storageError { _ = try await EmbeddedScene.open(file) }
        XCTAssertEqual(error?.code, .corruptFile)
    }
}
#endif
