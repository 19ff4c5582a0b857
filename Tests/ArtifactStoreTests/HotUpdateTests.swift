#if Server
import AsyncHTTPClient
import ClusterRole
import Foundation
import HTTPHandling
import HummingbirdHosting
import Logging
import NIOCore
import Synchronization
import XCTest

@testable import ArtifactStore

/// A real HTTP server under load while its application is updated.
final class HotUpdateTests: XCTestCase {
    private static let switches = 6
    private static let clients = 8
    private static let pieces = 24

    private final class Tally: Sendable {
        private let state = Mutex<(answers: Int, failures: [String], releases: Set<String>)>(
            (0, [], [])
        )
        var answers: Int { state.withLock { $0.answers } }
        var failures: [String] { state.withLock { $0.failures } }
        var releases: Set<String> { state.withLock { $0.releases } }

        func note(_ release: String) {
            state.withLock {
                $0.answers += 1
                $0.releases.insert(release)
            }
        }

        func fail(_ why: String) { state.withLock { $0.failures.append(why) } }
    }

    func test_requests_throughEverySwitch_areAllAnswered_eachFromOneRelease() async throws {
        let shelf = try Shelf()
        let site = LoadedSite()
        let sync = shelf.sync("web", deployer: site)
        try await shelf.publish(Self.pages("1"), to: "web")
        try await sync.syncOnce()

        var table = RouteTable()
        try table.get("/page", operationID: "page", access: .open) { _ in
            try await sync.withActiveRelease { .text(try await site.page(of: $0)) }
        }
        try table.get("/stream", operationID: "stream", access: .open) { _ in
            try Self.stream(sync)
        }
        let server = try ReeveServer(
            configuration: ReeveServerConfiguration(address: .loopback(port: 0)),
            mounts: [HandlerMount("/", table)],
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let client = HTTPClient(eventLoopGroupProvider: .singleton)
        let tally = Tally()
        do {
            try await running(server.run) {
                let port = try await server.boundAddress.port
                try await running {
                    await Self.load(client, port: port, tally)
                } _: {
                    for number in 2...Self.switches + 1 {
                        let before = tally.answers
                        try await eventually("requests are answered by the old one") {
                            tally.answers > before + 20
                        }
                        try await shelf.publish(Self.pages("\(number)"), to: "web")
                        let report = try await sync.syncOnce()
                        XCTAssertTrue(report.isApplied)
                        try await eventually("the new one is seen") {
                            tally.releases.contains("\(number)")
                        }
                    }
                }
            }
        } catch {
            try await client.shutdown()
            throw error
        }
        try await client.shutdown()
        XCTAssertEqual(tally.failures, [])
        XCTAssertEqual(tally.releases.count, Self.switches + 1)
        XCTAssertGreaterThan(tally.answers, 20 * Self.switches)
        XCTAssertEqual(site.loaded, ["\(Self.switches + 1)"], "every old one was drained")
    }

    private static func pages(_ mark: String) -> [String: String] {
        var files = ["head": mark, "body": mark]
        for piece in 0..<pieces { files["piece-\(piece)"] = mark + "," }
        return files
    }

    /// A response that is read piece by piece while it is sent, and holds its release that long.
    private static func stream(_ sync: ArtifactSync) throws -> HandlerResponse {
        guard let lease = sync.lease() else {
            throw HTTPHandlingError(.notListening, "no release")
        }
        let chunks = ArtifactStore.ByteChunks(reading: {
            var piece = 0
            return {
                guard piece < pieces else {
                    lease.end()
                    return nil
                }
                defer { piece += 1 }
                let path = lease.release.path(of: "piece-\(piece)")
                return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
            }
        })
        return HandlerResponse(body: .stream(chunks, length: nil))
    }

    /// Asks without a pause until it is cancelled; a request under way is waited for.
    private static func load(_ client: HTTPClient, port: Int, _ tally: Tally) async {
        await withDiscardingTaskGroup { group in
            for index in 0..<clients {
                group.addTask {
                    let path = index % 2 == 0 ? "page" : "stream"
                    while !Task.isCancelled { await ask(client, port, path, tally) }
                }
            }
        }
    }

    private static func ask(
        _ client: HTTPClient,
        _ port: Int,
        _ path: String,
        _ tally: Tally
    ) async {
        do {
            let request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/\(path)")
            let answer = try await client.execute(request, timeout: .seconds(60))
            let body = try await answer.body.collect(upTo: 1 << 16)
            let marks = Set(String(buffer: body).split(separator: ",").map(String.init))
            guard "\(answer.status)".hasPrefix("200"), marks.count == 1, let mark = marks.first
            else {
                return tally.fail("\(answer.status): \(marks)")
            }
            tally.note(mark)
        } catch {
            // The end of the test, not of the server.
            if !Task.isCancelled { tally.fail("\(error)") }
        }
    }
}

/// A site that is loaded into memory before it is served, and cannot be served otherwise.
private final class LoadedSite: Deployer {
    struct NotLoaded: Error {}

    let kind: ArtifactKind = .files
    private let sites = Mutex<[ActiveRelease: String]>([:])

    /// What is in memory, sorted.
    var loaded: [String] { sites.withLock { $0.values.sorted() } }

    func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
        let text = try String(contentsOfFile: new.path(of: "head"), encoding: .utf8)
        sites.withLock { $0[new] = text }
    }

    func drain(_ old: ActiveRelease) async { sites.withLock { _ = $0.removeValue(forKey: old) } }

    /// Two parts, with others let in between.
    func page(of release: ActiveRelease) async throws -> String {
        guard let head = sites.withLock({ $0[release] }) else { throw NotLoaded() }
        await Task.yield()
        return "\(head),\(try String(contentsOfFile: release.path(of: "body"), encoding: .utf8))"
    }
}
#endif
