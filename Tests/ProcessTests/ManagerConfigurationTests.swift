#if Server && SQLite && Push
import ClusterRole
import ClusterTestKit
import Configuration
import DeviceRegistry
import Foundation
import Logging
import ReeveManager
import ServiceLifecycle
import XCTest

final class ManagerConfigurationTests: XCTestCase {
    private func configuration(
        _ more: [AbsoluteConfigKey: ConfigValue] = [:]
    ) throws -> ManagerConfiguration {
        var values: [AbsoluteConfigKey: ConfigValue] = [
            ["node", "id"]: "manager-1", ["node", "directory"]: "/nowhere",
        ]
        values.merge(more) { _, new in new }
        return try ManagerConfiguration(
            reading: ConfigReader(provider: InMemoryProvider(values: values))
        )
    }

    func test_liveness_readsItsThresholds_andRefusesWhatCannotBe() async throws {
        XCTAssertEqual(try configuration().liveness, LivenessRule())
        let read = try configuration([
            ["liveness", "unreachable"]: 20.0, ["liveness", "inactive"]: 90.0,
        ])
        XCTAssertEqual(
            read.liveness,
            LivenessRule(unreachableAfter: .seconds(20), inactiveAfter: .seconds(90))
        )
        for wrong: [AbsoluteConfigKey: ConfigValue] in [
            [["liveness", "unreachable"]: 0.0],
            [["liveness", "unreachable"]: 90.0, ["liveness", "inactive"]: 20.0],
        ] {
            do {
                _ = try await ManagerNode.open(try configuration(wrong))
                XCTFail("\(wrong) was taken")
            } catch let error as ManagerConfigurationError {
                XCTAssertTrue(error.message.contains("liveness"), error.message)
            }
        }
    }

    func test_liveness_ofARunningManager_followsItsConfiguration() async throws {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let time = ManualTimeSource()
        var configuration = ManagerConfiguration(node: "manager-1", directory: directory)
        configuration.liveness = LivenessRule(
            unreachableAfter: .seconds(20),
            inactiveAfter: .seconds(90)
        )
        configuration.time = time
        configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let node = try await ManagerNode.open(configuration)
        _ = try await node.administration.enrol("tablet-17")
        time.advance(by: .seconds(30))
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [node.background],
                logger: configuration.logger
            )
        )
        let running = Task { try await group.run() }
        let limit = ContinuousClock.now + .seconds(30)
        var counts = LivenessCounts()
        while ContinuousClock.now < limit, counts.unreachable == 0 {
            counts = try await node.devices.livenessCounts()
            await Task.yield()
        }
        XCTAssertEqual(counts.unreachable, 1, "after 30 seconds of silence")
        await group.triggerGracefulShutdown()
        try await running.value
    }
}
#endif
