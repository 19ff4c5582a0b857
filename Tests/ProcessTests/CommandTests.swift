#if Server && SQLite && Push
import Foundation
import XCTest

@testable import reeve

/// The command as an operator meets it.
final class CommandTests: XCTestCase {
    func test_manager_onADirectoryInUse_saysWhoHasItAndEndsWithStatusOne() async throws {
        let cluster = try DemoCluster(directory: nil, progress: DemoProgress())
        do {
            try await cluster.startManager(
                frequency: 1,
                publishRoots: [cluster.directory.path]
            )
            let log = cluster.directory.appendingPathComponent("second.log")
            let second = try ChildProcess(
                name: "second",
                executable: DemoCluster.ownExecutable,
                arguments: [
                    "manager", "--config",
                    cluster.directory.appendingPathComponent("manager.json").path,
                ],
                log: log
            )
            let ending = try await second.waitForEnd(within: .seconds(60))
            XCTAssertEqual(ending, .exited(1))
            XCTAssertTrue(second.lastLines(3).contains("storage.locked"), second.lastLines(3))
            try await cluster.stopGracefully("manager-1")
        } catch {
            await cluster.stop()
            XCTFail("data in \(cluster.directory.path): \(error)")
            return
        }
        cluster.removeDirectory(ifTemporary: true)
    }
}
#endif
