#if Server && SQLite && Push
import ClusterRole
import Configuration
import HTTPHandling
import HummingbirdHosting
import OperationQueue
import ReeveManager
import XCTest

final class ManagerAccessConfigurationTests: XCTestCase {
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

    func test_access_unlessSaid_isPrivate_believesNoProxy_andKeepsTheLog() throws {
        let read = try configuration()
        XCTAssertEqual(read.access, .private)
        XCTAssertEqual(read.proxies, ProxyTrust())
        XCTAssertEqual(read.auditRetention, AuditRetention())
        XCTAssertEqual(read.userOperations, [])
    }

    func test_access_isReadFromItsKeys() throws {
        let read = try configuration([
            ["manager", "access"]: "public", ["users", "host"]: "0.0.0.0",
            ["users", "port"]: 9_000,
            ["users", "operations"]: ConfigValue(
                .stringArray(["ring", "locate"]),
                isSecret: false
            ),
            ["proxies", "addresses"]: ConfigValue(
                .stringArray(["10.0.0.0/8", "fd00::1"]),
                isSecret: false
            ),
            ["proxies", "field"]: "forwarded",
            ["proxies", "certificate-field"]: "client-cert", ["audit", "days"]: 30.0,
            ["audit", "entries"]: 5_000,
        ])
        XCTAssertEqual(read.access, .public)
        XCTAssertEqual(read.userAddress, ServerAddress(host: "0.0.0.0", port: 9_000))
        XCTAssertEqual(read.userOperations, ["ring", "locate"])
        XCTAssertEqual(read.proxies.proxies.map(\.description).count, 2)
        XCTAssertEqual(read.proxies.addressField, .forwarded)
        XCTAssertEqual(read.proxies.certificateField, .clientCert)
        XCTAssertEqual(read.auditRetention.keepFor, .seconds(30 * 86_400))
        XCTAssertEqual(read.auditRetention.keepAtMost, 5_000)
    }

    func test_access_thatCannotBe_isRefusedBeforeAnythingIsOpened() async throws {
        let rows: [([AbsoluteConfigKey: ConfigValue], String)] = [
            ([["manager", "access"]: "open"], "manager.access"),
            (
                [
                    ["proxies", "addresses"]: ConfigValue(
                        .stringArray(["10.0.0.1/8"]),
                        isSecret: false
                    )
                ],
                "proxies.addresses"
            ),
            ([["proxies", "field"]: "x-real-ip"], "proxies.field"),
            ([["proxies", "certificate-field"]: "pem"], "proxies.certificate-field"),
            ([["manager", "access"]: "public", ["users", "port"]: 8_180], "users."),
            ([["users", "port"]: 70_000], "users.port"),
            ([["audit", "days"]: 0.5], "audit.days"), ([["audit", "entries"]: 10], "audit.days"),
        ]
        for (keys, word) in rows {
            do {
                _ = try await ManagerNode.open(try configuration(keys))
                XCTFail("\(keys) was taken")
            } catch let error as ManagerConfigurationError {
                XCTAssertTrue(error.message.contains(word), error.message)
            }
        }
    }
}
#endif
