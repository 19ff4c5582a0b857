import ArtifactConfiguration
import ClusterRole
import Configuration
import Synchronization
import XCTest

@testable import ArtifactStore

/// Published configuration reaches running code without a restart.
final class ArtifactConfigurationTests: XCTestCase {
    private let settings: ChannelName = "settings"

    private func sync(
        _ shelf: Shelf,
        _ provider: ArtifactConfigurationProvider
    ) -> ArtifactSync { shelf.sync(settings, deployer: provider) }

    private func publish(_ shelf: Shelf, _ files: [String: String]) async throws {
        try await shelf.publish(files, to: settings, kind: .configuration)
    }

    func test_aRunningWatch_seesANewRelease_withoutARestart() async throws {
        let shelf = try Shelf()
        let provider = ArtifactConfigurationProvider()
        let config = ConfigReader(provider: provider)
        let sync = sync(shelf, provider)
        let seen = Mutex<[Int]>([])
        try await running {
            try await config.watchInt(forKey: "cache.size", default: 7) { sizes in
                for await size in sizes { seen.withLock { $0.append(size) } }
            }
        } _: {
            try await eventually("the default") { seen.withLock { $0 } == [7] }
            try await publish(shelf, ["cache.json": #"{"cache": {"size": 100}}"#])
            try await sync.syncOnce()
            try await eventually("release 1") { seen.withLock { $0 } == [7, 100] }
            try await publish(shelf, ["cache.json": #"{"cache": {"size": 200}}"#])
            try await sync.syncOnce()
            try await eventually("release 2") { seen.withLock { $0 } == [7, 100, 200] }
        }
        XCTAssertEqual(config.int(forKey: "cache.size"), 200)
        XCTAssertEqual(provider.release?.number, ReleaseNumber(2))
    }

    func test_badConfiguration_isRefused_andTheValuesBeforeStay() async throws {
        let shelf = try Shelf()
        let provider = ArtifactConfigurationProvider { config in
            guard config.int(forKey: "cache.size", default: 0) > 0 else {
                throw ArtifactConfigurationError("cache.size is above 0.")
            }
        }
        let config = ConfigReader(provider: provider)
        let sync = sync(shelf, provider)
        try await publish(shelf, ["cache.json": #"{"cache": {"size": 100}}"#])
        try await sync.syncOnce()
        let deep = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
        let bad = [
            ["cache.json": #"{"cache": {"size": "#], ["cache.json": #"[1, 2]"#],
            ["cache.json": "{\"a\": \(deep)}"], ["site.env": "CACHE_SIZE=1\nnonsense\n"],
            ["cache.json": #"{"cache": {"size": 0}}"#], ["other.txt": "no cache.size at all"],
        ]
        for files in bad {
            try await publish(shelf, files)
            let report = try await sync.syncOnce()
            guard case .refused(let error) = report.outcome else { return XCTFail("\(files)") }
            XCTAssertEqual(error.code, .deploymentFailed, "\(files)")
            XCTAssertEqual(config.int(forKey: "cache.size"), 100)
        }
        XCTAssertEqual(shelf.words(about: settings).last?.state, .refused)
        XCTAssertEqual(provider.release?.number, .first)
    }

    func test_files_ofSeveralForms_areRead_andTheLaterNameWins() async throws {
        let shelf = try Shelf()
        let provider = ArtifactConfigurationProvider()
        let config = ConfigReader(provider: provider)
        let sync = sync(shelf, provider)
        try await publish(
            shelf,
            [
                "10-base.json": #"{"http": {"port": 80, "host": "a"}, "names": ["x", "y"]}"#,
                "20-site.env": "# ours\nHTTP_PORT=8080\nGREETING=\"hello = world\"\n",
                "deep/30-last.json": #"{"http": {"host": "b"}}"#, "readme.md": "not configuration",
            ]
        )
        try await sync.syncOnce()
        XCTAssertEqual(config.int(forKey: "http.port"), 8_080)
        XCTAssertEqual(config.string(forKey: "http.host"), "b", "deep/ sorts behind the digits")
        XCTAssertEqual(config.string(forKey: "greeting"), "hello = world")
        XCTAssertEqual(config.stringArray(forKey: "names"), ["x", "y"])
        XCTAssertNil(config.string(forKey: "missing"))
    }

    func test_restart_withoutASource_hasTheLastGoodValues() async throws {
        let shelf = try Shelf()
        try await publish(shelf, ["a.json": #"{"a": 1}"#])
        try await sync(shelf, ArtifactConfigurationProvider()).syncOnce()
        shelf.isDown = true
        let provider = ArtifactConfigurationProvider()
        let again = sync(shelf, provider)
        try await again.start()
        XCTAssertEqual(ConfigReader(provider: provider).int(forKey: "a"), 1)
    }

    func test_snapshot_neverMixesTwoReleases() async throws {
        let shelf = try Shelf()
        let provider = ArtifactConfigurationProvider()
        let config = ConfigReader(provider: provider)
        let sync = sync(shelf, provider)
        try await publish(shelf, ["a.json": #"{"x": 0}"#, "b.json": #"{"y": 0}"#])
        try await sync.syncOnce()
        let mixtures = Mutex(0)
        try await running {
            while !Task.isCancelled {
                let snapshot = config.snapshot()
                if snapshot.int(forKey: "x") != snapshot.int(forKey: "y") {
                    mixtures.withLock { $0 += 1 }
                }
                await Task.yield()
            }
        } _: {
            for round in 1...20 {
                try await publish(
                    shelf,
                    ["a.json": #"{"x": \#(round)}"#, "b.json": #"{"y": \#(round)}"#]
                )
                try await sync.syncOnce()
            }
        }
        XCTAssertEqual(mixtures.withLock { $0 }, 0)
        XCTAssertEqual(config.int(forKey: "y"), 20)
    }
}
