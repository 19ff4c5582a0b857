import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

// Broken drivers of devices.
extension BrokenDriverTests {
    func test_devices_thatAreNotErased_areCaught() async {
        let factory = store { store, _ in
            store.devices = BrokenDevices(
                base: store.devices,
                onCommit: { change, epoch in
                    guard case .remove(let id, _, let initiator) = change else {
                        return (change, epoch)
                    }
                    return (.remove(id, by: initiator), epoch)
                }
            )
        }
        await expectFailure(at: "an erased device keeps its name and its history") {
            try await DeviceStorageConformance(factory).run()
        }
    }

    func test_devices_judgedThoughTheyMadeContact_areCaught() async {
        let factory = store { store, _ in
            let base = store.devices
            store.devices = BrokenDevices(
                base: base,
                onCommit: { change, epoch in
                    guard case .recordLiveness(let changes) = change else {
                        return (change, epoch)
                    }
                    // The time that was judged by is not compared.
                    let start = ManualTimeSource.standardStart
                    return (
                        .recordLiveness(
                            changes.map { change in
                                var change = change
                                if change.lastSeen < start { change.lastSeen = start }
                                return change
                            }
                        ), epoch
                    )
                }
            )
        }
        await expectFailure(at: "only a device's own contact makes it active") {
            try await DeviceStorageConformance(factory).run()
        }
    }

    func test_definitions_thatNobodyFollows_areCaught() async {
        let factory = store { store, _ in
            store.devices = BrokenDevices(
                base: store.devices,
                onCommit: { change, epoch in
                    guard case .define(let group, let query?) = change else {
                        return (change, epoch)
                    }
                    // A definition that looks at nothing is never decided on again.
                    let isEmpty = query.description.contains("fleet")
                    return (.define(group, as: isEmpty ? .and([]) : query), epoch)
                }
            )
        }
        await expectFailure(at: "a defined group follows every change in the same transaction") {
            try await DeviceStorageConformance(factory).run()
        }
    }
}
