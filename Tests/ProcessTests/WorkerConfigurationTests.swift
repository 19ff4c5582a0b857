#if Server && SQLite && Push
import ArtifactStore
import ClusterRole
import Configuration
import Foundation
import ReeveWorker
import XCTest

final class WorkerConfigurationTests: XCTestCase {
    private func configuration(
        _ more: [AbsoluteConfigKey: ConfigValue] = [:]
    ) throws -> WorkerConfiguration {
        var values: [AbsoluteConfigKey: ConfigValue] = [
            ["node", "id"]: "worker-1", ["node", "directory"]: "/nowhere",
            ["link", "managers"]: .init(.stringArray(["http://127.0.0.1:1"]), isSecret: false),
            ["link", "token"]: "token-of-worker-number-1",
        ]
        values.merge(more) { _, new in new }
        return try WorkerConfiguration(
            reading: ConfigReader(provider: InMemoryProvider(values: values))
        )
    }

    private func list(_ entries: String...) -> ConfigValue {
        ConfigValue(.stringArray(entries), isSecret: false)
    }

    func test_labelsAbilitiesAndHealth_areRead() throws {
        let bare = try configuration()
        XCTAssertEqual(bare.labels, [:])
        XCTAssertEqual(bare.abilities, NodeAbilities())
        XCTAssertEqual(bare.healthInterval, .seconds(10))
        XCTAssertNil(bare.syncing)
        let full = try configuration([
            ["labels"]: list("zone=eu", "note=a=b", "empty="),
            ["capabilities"]: list("gpu", "wasm"),
            ["software", "version"]: "2.10.3",
            ["health", "interval"]: 0.5,
            ["channels"]: list("web/site"),
            ["channels", "mode"]: "manual",
            ["channels", "carry-check"]: "digests",
        ])
        XCTAssertEqual(full.labels, ["zone": "eu", "note": "a=b", "empty": ""])
        XCTAssertEqual(full.abilities.capabilities, ["gpu", "wasm"])
        XCTAssertEqual(full.abilities.softwareVersion, try SoftwareVersion(parsing: "2.10.3"))
        XCTAssertEqual(full.healthInterval, .milliseconds(500))
        XCTAssertEqual(Set(full.channels.keys), ["web/site"])
        XCTAssertEqual(full.syncing?.mode, .manual)
        XCTAssertEqual(full.syncing?.carryCheck, .digests)
    }

    func test_valuesThatCannotBe_areRefusedByName() async throws {
        let wrong: [(AbsoluteConfigKey, ConfigValue, String)] = [
            (["labels"], list("zone"), "labels"),
            (["labels"], list("=eu"), "labels"),
            (["capabilities"], list("no spaces"), "capability"),
            (["software", "version"], "two", "software version"),
            (["health", "interval"], 0.01, "health.interval"),
            (["channels", "mode"], "sometimes", "channels.mode"),
            (["channels", "carry-check"], "never", "channels.carry-check"),
            (["channels"], list("/"), "channel"),
        ]
        for (key, value, name) in wrong {
            do {
                _ = try await WorkerNode.open(try configuration([key: value]))
                XCTFail("\(key) was taken")
            } catch let error as any CodedError {
                XCTAssertTrue(error.message.contains(name), error.message)
            }
        }
    }
}
#endif
