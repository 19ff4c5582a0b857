import ClusterRole
import ClusterTestKit
import DeviceRegistry
import XCTest

@testable import OperationQueue

final class IndexTableTests: XCTestCase {
    /// Few hash values, so that nearly everything collides and removals close gaps around the end.
    func test_table_randomInsertionsAndRemovals_findsWhatASetHolds() {
        let random = SeededRandom(7)
        for bits in [1, 3, 6, 20] {
            var table = IndexTable()
            var held: Set<Int32> = []
            let hashes: (Int32) -> Int = { Int($0) &* 0x9E37_79B9 & ((1 << bits) - 1) }
            for _ in 0..<2_000 {
                let index = Int32(random.number(below: 300))
                if held.contains(index) {
                    table.remove(index, hashes: hashes)
                    held.remove(index)
                } else {
                    table.insert(index, hashes: hashes)
                    held.insert(index)
                }
                table.remove(300, hashes: hashes)
                XCTAssertEqual(table.count, held.count)
                let probe = Int32(random.number(below: 300))
                let found = table.find(hash: hashes(probe)) { $0 == probe }
                XCTAssertEqual(found, held.contains(probe) ? probe : nil)
            }
            for index in 0..<300 as Range<Int32> {
                let found = table.find(hash: hashes(index)) { $0 == index }
                XCTAssertEqual(found, held.contains(index) ? index : nil)
            }
        }
    }

    func test_devices_ofTwoTenantsWithOneName_areTwo() {
        var devices = ReplicaDevices()
        let first = devices.intern("phone", tenant: 0)
        let second = devices.intern("phone", tenant: 1)
        XCTAssertNotEqual(first, second)
        XCTAssertEqual(devices.intern("phone", tenant: 0), first)
        XCTAssertEqual(devices.index(of: "phone", tenant: 1), second)
        XCTAssertNil(devices.index(of: "phone", tenant: 2))
        XCTAssertEqual(devices.id(at: second), "phone")
    }

    func test_credential_afterItIsRemoved_findsNobody() {
        var devices = ReplicaDevices()
        let credential = CredentialDigest(high: 1, low: 2)
        for name in ["a", "b"] {
            let index = devices.intern(DeviceID(rawValue: name), tenant: 0)
            devices[index].credential = CredentialDigest(high: name == "a" ? 1 : 9, low: 2)
            devices.addCredential(of: index)
        }
        XCTAssertEqual(devices.index(of: credential).map(devices.id), "a")
        XCTAssertEqual(devices.index(of: CredentialDigest(high: 9, low: 2)).map(devices.id), "b")
        devices.removeCredential(of: 0)
        XCTAssertNil(devices.index(of: credential))
        XCTAssertEqual(devices.index(of: CredentialDigest(high: 9, low: 2)).map(devices.id), "b")
    }
}
