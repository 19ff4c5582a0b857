#if Server && SQLite && Push
import ClusterMembership
import ClusterRole
import Configuration
import Foundation
import HummingbirdHosting
import ReeveManager
import ReeveWorker
import XCTest

/// Nodes that listen at one address and are reached at another.
final class MemberAddressNodeTests: XCTestCase {
    private let directory =
        FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"

    override func tearDown() { try? FileManager.default.removeItem(atPath: directory) }

    private func reader(_ values: [AbsoluteConfigKey: ConfigValue]) -> ConfigReader {
        ConfigReader(provider: InMemoryProvider(values: values))
    }

    private func manager(
        port: Int,
        _ more: [AbsoluteConfigKey: ConfigValue]
    ) throws -> ManagerConfiguration {
        var values: [AbsoluteConfigKey: ConfigValue] = [
            ["node", "id"]: "manager-1",
            ["node", "directory"]: .init(.string(directory + "/manager"), isSecret: false),
            ["listen", "host"]: "0.0.0.0", ["listen", "port"]: .init(.int(port), isSecret: false),
            ["link", "tokens"]: .init(
                .stringArray((1...3).map { "worker-\($0)=token-of-worker-number-\($0)" }),
                isSecret: true
            ),
        ]
        values.merge(more) { _, new in new }
        var configuration = try ManagerConfiguration(reading: reader(values))
        configuration.logger = quietLogger
        return configuration
    }

    private func worker(
        _ number: Int,
        on port: Int,
        _ more: [AbsoluteConfigKey: ConfigValue]
    ) throws -> WorkerConfiguration {
        var values: [AbsoluteConfigKey: ConfigValue] = [
            ["node", "id"]: .init(.string("worker-\(number)"), isSecret: false),
            ["node", "directory"]: .init(.string("\(directory)/worker-\(number)"), isSecret: false),
            ["link", "managers"]: .init(
                .stringArray(["http://127.0.0.1:\(port)"]),
                isSecret: false
            ),
            ["link", "token"]: .init(.string("token-of-worker-number-\(number)"), isSecret: true),
        ]
        values.merge(more) { _, new in new }
        var configuration = try WorkerConfiguration(reading: reader(values))
        configuration.logger = quietLogger
        return configuration
    }

    func test_memberAddress_isTheOneANodeAdvertises_elseWhereItListens_ifThatIsOnePlace()
        async throws
    {
        let port = try freePort()
        let node = try await ManagerNode.open(
            try manager(port: port, [["advertise", "address"]: "manager.example:443"])
        )
        // Their servers do not run: what they would listen on is all that counts.
        let workers = [
            try worker(
                1,
                on: port,
                [
                    ["listen", "host"]: "0.0.0.0",
                    ["advertise", "address"]: "https://[2001:db8::4]:8280",
                ]
            ),
            try worker(2, on: port, [["listen", "host"]: "0.0.0.0"]),
            try worker(3, on: port, [["listen", "port"]: 8_281]),
        ]
        try await whileRunning(node) {
            for configuration in workers {
                let worker = try await WorkerNode.open(configuration)
                try await whileRunning(worker.background) {
                    try await eventually("\(configuration.node) is a member") {
                        try await node.members.member(configuration.node)?.state == .alive
                    }
                }
            }
            let addresses = try await node.members.all().map { "\($0.node) \($0.address)" }
            XCTAssertEqual(
                addresses,
                [
                    "manager-1 manager.example:443", "worker-1 https://[2001:db8::4]:8280",
                    "worker-2 ", "worker-3 127.0.0.1:8281",
                ]
            )
        }
    }

    func test_memberAddress_thatNobodyCanDial_isRefusedByName_beforeAnythingIsOpened()
        async throws
    {
        for wrong: ConfigValue in ["0.0.0.0:8180", "10.0.0.2", "10.0.0.2:0", ""] {
            let more: [AbsoluteConfigKey: ConfigValue] = [["advertise", "address"]: wrong]
            do {
                _ = try await ManagerNode.open(try manager(port: 8_180, more))
                XCTFail("a manager took \(wrong)")
            } catch let error as ManagerConfigurationError {
                XCTAssertTrue(error.message.hasPrefix("advertise.address"), error.message)
            }
            do {
                _ = try await WorkerNode.open(try worker(1, on: 8_180, more))
                XCTFail("a worker took \(wrong)")
            } catch let error as WorkerConfigurationError {
                XCTAssertTrue(error.message.hasPrefix("advertise.address"), error.message)
            }
        }
        XCTAssertFalse(FileManager.default.fileExists(atPath: directory))
    }
}
#endif
