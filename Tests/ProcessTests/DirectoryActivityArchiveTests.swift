#if Server && SQLite && Push
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import HTTPHandling
import OperationQueue
import ReeveManager
import XCTest

/// What is purged goes into files of lines first.
final class DirectoryActivityArchiveTests: XCTestCase {
    private struct Refusal: Error {}
    private var directory = ""

    override func setUp() {
        directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
    }

    override func tearDown() { try? FileManager.default.removeItem(atPath: directory) }

    /// The file of the day on which a manual clock starts.
    private var firstDay: String { directory + "/activities-2026-01-01.jsonl" }

    private func lines(_ path: String) throws -> [JSONValue?] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
            .map { try? JSONValue(parsing: Array($0.utf8)) }
    }

    private func finished(_ cluster: InMemoryCluster) async throws -> Activity {
        let receipt = try await cluster.enqueuer.enqueue(
            EnqueueRequest("lock", to: .group("field"), payload: [1, 2])
        )
        try await cluster.enqueuer.cancel(receipt.activity)
        return try await cluster.browser.activity(receipt.activity)
    }

    func test_archive_pagesOfExecutions_areLinesBetweenTheActivityAndItsEnd() async throws {
        let cluster = InMemoryCluster()
        for index in 1...5 { try await cluster.enrol("d-\(index)", groups: ["field"]) }
        let archive = try DirectoryActivityArchive(directory: directory, clock: cluster.time)
        let activity = try await finished(cluster)
        try await archive.archive(activity) { [browser = cluster.browser] after in
            try await browser.executions(of: activity.id, after: after, limit: 2)
        }
        let lines = try lines(firstDay)
        XCTAssertEqual(lines.count, 7)
        XCTAssertEqual(lines[0]?["activity"]?["id"]?.stringValue, activity.id.description)
        XCTAssertEqual(lines[0]?["activity"]?["state"], "cancelled")
        XCTAssertEqual(lines[0]?["activity"]?["payload"], "AQI=")
        XCTAssertEqual(
            lines[1...5].map { $0?["execution"]?["device"] },
            (1...5).map { .string("d-\($0)") }
        )
        XCTAssertEqual(lines[3]?["execution"]?["activity"], lines[6]?["complete"])
        let mode = try FileManager.default.attributesOfItem(atPath: firstDay)[.posixPermissions]
        XCTAssertEqual(mode as? Int, 0o600)
    }

    func test_archive_theNextDay_isAnotherFile() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d-1", groups: ["field"])
        let archive = try DirectoryActivityArchive(directory: directory, clock: cluster.time)
        for _ in 0..<2 {
            let activity = try await finished(cluster)
            try await archive.archive(activity) { [browser = cluster.browser] after in
                try await browser.executions(of: activity.id, after: after)
            }
            cluster.time.advance(by: .seconds(86_400))
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        XCTAssertEqual(
            names,
            ["activities-2026-01-01.jsonl", "activities-2026-01-02.jsonl"]
        )
    }

    /// What a crash tore off takes nothing with it, and what broke off has no end.
    func test_archive_brokenOff_isWrittenAnewBehindTheTornLine() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d-1", groups: ["field"])
        let archive = try DirectoryActivityArchive(directory: directory, clock: cluster.time)
        let activity = try await finished(cluster)
        do {
            try await archive.archive(activity) { _ in throw Refusal() }
            XCTFail("the executions could not be read")
        } catch is Refusal {}
        XCTAssertEqual(try lines(firstDay).count, 1)
        let file = try XCTUnwrap(FileHandle(forWritingAtPath: firstDay))
        try file.seekToEnd()
        try file.write(contentsOf: Data(#"{"execution":{"act"#.utf8))
        try file.close()
        try await archive.archive(activity) { [browser = cluster.browser] after in
            try await browser.executions(of: activity.id, after: after)
        }
        let lines = try lines(firstDay)
        XCTAssertEqual(lines.count, 5)
        XCTAssertNil(lines[1])
        XCTAssertEqual(lines[2], lines[0])
        XCTAssertEqual(lines[4]?["complete"]?.stringValue, activity.id.description)
    }
}
#endif
