import ClusterRole
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import ReeveManager
import XCTest

@testable import Examples

final class DeviceProtocolTests: XCTestCase {
    func test_deviceProtocol_ofItsOwn_isWokenAndTakesItsTurns() async throws {
        let directory = try TemporaryDirectory()
        let (rings, line) = AsyncStream<String>.makeStream()
        var configuration = ManagerConfiguration(node: "mdm-1", directory: directory.path)
        configuration.logger = quiet
        configuration.transports["line"] = OpenLine { address in
            line.yield(address)
            return true
        }
        let manager = try await ManagerNode.open(configuration)
        let phone = try await manager.administration.enrol("phone-7").identity
        try await manager.exchange.register(push: ("line", "line-7"), device: phone)

        try await running(manager.background) {
            let request = EnqueueRequest("lock", to: .devices(["phone-7"]))
            let activity = try await manager.operations.enqueue(request).activity
            var rung = rings.makeAsyncIterator()
            let first = await rung.next()
            XCTAssertEqual(first, "line-7")

            let offered = try await turn(manager, certificate: "phone-7")
            let command = try XCTUnwrap(offered)
            XCTAssertEqual(command.code, "lock")
            let done = ExecutionResult(execution: command.execution, outcome: .completed)
            let next = try await turn(manager, certificate: "phone-7", last: done)
            XCTAssertNil(next)
            let state = try await manager.activities.activity(activity).state
            XCTAssertEqual(state, .finished)

            try await manager.administration.remove("phone-7")
            do {
                _ = try await turn(manager, certificate: "phone-7")
                XCTFail("A device that was removed is served.")
            } catch let error as OperationQueueError {
                XCTAssertEqual(error.code, .unknownDevice)
            }
        }
    }
}
