import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

final class ScaleTests: XCTestCase {
    private let fleet = 20_000

    private func name(_ index: Int) -> DeviceID { DeviceID(rawValue: "device-\(index)") }

    private func row(_ index: Int) -> DeviceRow {
        DeviceRow(
            tenant: .standard,
            id: name(index),
            incarnation: IncarnationID(bits: UInt128(index) + 1),
            state: .enrolled,
            credential: CredentialDigest(high: 0, low: UInt128(index))
        )
    }

    private func activity(_ number: Int64) -> ReplicaRow {
        let operation = DeviceOperation(
            id: OperationID(bits: UInt128(number)),
            activity: ActivityID(bits: UInt128(number)),
            number: number,
            code: OperationCode(rawValue: "code"),
            createdAt: .distantPast
        )
        return .activity(
            .standard,
            ReplicaActivity(operation: operation, group: .everyone, state: .open)
        )
    }

    private func done(_ number: Int64, _ device: DeviceRow) -> ReplicaRow {
        let id = ExecutionID(
            operation: OperationID(bits: UInt128(number)),
            incarnation: device.incarnation,
            device: device.id
        )
        return .execution(
            .standard,
            number: number,
            Execution(id: id, state: .completed, updatedAt: .distantPast)
        )
    }

    /// An image of a fleet that has done all of ten group operations, its rows in the worst order.
    private func image() -> ReplicaImage {
        let numbers = (100_000..<100_010).map { Int64($0) }
        var rows: [ReplicaRow] = []
        for index in 0..<fleet {
            let device = row(index)
            rows += numbers.map { done($0, device) }
            rows.append(
                .membership(
                    .standard,
                    Membership(
                        group: .everyone,
                        device: device.id,
                        incarnation: device.incarnation,
                        joined: Int64(index)
                    )
                )
            )
            rows.append(.device(device))
        }
        rows += numbers.map(activity)
        let revision = Revision(history: HistoryID(bits: 1), number: 200_000)
        var image = ReplicaImage()
        image.apply(
            ReplicaPage(
                content: .snapshotBegins,
                rows: rows,
                revision: revision,
                next: nil,
                epoch: Epoch(rawValue: 1)
            )
        )
        return image
    }

    func test_image_rowsInAnyOrder_knowsTheWholeFleet() throws {
        let image = image()
        XCTAssertEqual(image.deviceCount, fleet)
        XCTAssertEqual(image.activityCount, 10)
        for index in stride(from: 0, to: fleet, by: 997) {
            let work = try XCTUnwrap(image.openWork(for: name(index), tenant: .standard))
            XCTAssertEqual(work.items, [])
            XCTAssertEqual(image.device(credential: row(index).credential), row(index))
        }
    }
}
