import ClusterRole
import DeviceRegistry
import Synchronization
import XCTest

/// Time that stands still.
private struct FixedClock: TimeSource {
    func now() -> Timestamp { Timestamp(milliseconds: 50_000) }
    func monotonic() -> Duration { .zero }
    func sleep(for duration: Duration) async throws {}
}

private struct Registry {
    let ledger = InMemoryLedger()
    let storage: InMemoryDeviceStorage
    let capability: WriteCapability
    let administration: DeviceAdministration
    let directory: DeviceDirectory
    let fleet = GroupID(rawValue: "fleet")

    init() {
        storage = InMemoryDeviceStorage(ledger: ledger)
        capability = WriteCapability(epoch: ledger.raiseEpoch())
        administration = DeviceAdministration(
            storage: storage,
            capability: capability,
            clock: FixedClock()
        )
        directory = DeviceDirectory(reader: storage)
    }
}

final class DeviceRegistryTests: XCTestCase {
    private func assertThrows<Value>(
        _ code: DeviceRegistryError.Code,
        line: UInt = #line,
        _ body: () async throws -> Value
    ) async {
        do {
            _ = try await body()
            XCTFail("nothing was thrown", line: line)
        } catch let error as DeviceRegistryError {
            XCTAssertEqual(error.code, code, error.message, line: line)
        } catch {
            XCTFail("\(error)", line: line)
        }
    }

    func test_enrolment_newDevice_isFoundByItsCredentialOnly() async throws {
        let registry = Registry()
        let receipt = try await registry.administration.enrol(
            DeviceID(rawValue: "d"),
            groups: [registry.fleet, registry.fleet]
        )
        let authenticator = CredentialAuthenticator(reader: registry.storage)
        let found = try await authenticator.authenticate(token: receipt.credential.token)
        XCTAssertEqual(found, receipt.identity)
        let nobody = try await authenticator.authenticate(token: "guess")
        XCTAssertNil(nobody)
        let groups = try await registry.directory.groups()
        XCTAssertEqual(groups.map(\.group.rawValue), ["everyone", "fleet"])
        XCTAssertEqual(groups.map(\.members), [1, 1])
        XCTAssertFalse("\(receipt.credential)".contains(receipt.credential.token))
    }

    func test_enrolment_keyRepeated_onlyReplacesTheCredential() async throws {
        let registry = Registry()
        let device = DeviceID(rawValue: "d")
        let first = try await registry.administration.enrol(device, key: "k")
        let second = try await registry.administration.enrol(device, key: "k")
        XCTAssertEqual(first.identity, second.identity)
        XCTAssertNotEqual(first.credential.token, second.credential.token)
        let authenticator = CredentialAuthenticator(reader: registry.storage)
        let old = try await authenticator.authenticate(token: first.credential.token)
        XCTAssertNil(old)
        let third = try await registry.administration.enrol(device, key: "other")
        XCTAssertNotEqual(first.identity, third.identity, "a new enrolment is a new incarnation")
    }

    func test_removal_endsCredentialAndMemberships() async throws {
        let registry = Registry()
        let desk = EnrolmentDesk(
            administration: registry.administration,
            policy: SharedSecretPolicy(secret: "s", groups: [registry.fleet])
        )
        let request = EnrolmentRequest(
            device: DeviceID(rawValue: "d"),
            token: "s",
            groups: [registry.fleet]
        )
        let receipt = try await desk.enrol(request)
        try await desk.unenrol(receipt.identity)
        await assertThrows(.unknownDevice) { try await desk.unenrol(receipt.identity) }
        let row = try await registry.storage.device(credential: receipt.credential.digest)
        XCTAssertNil(row)
        let page = try await registry.directory.devices(in: registry.fleet)
        XCTAssertEqual(page.devices, [])
        let all = try await registry.directory.devices()
        XCTAssertEqual(all.devices.map(\.row.state), [.removed])
    }

    func test_desk_wrongTokenOrGroup_refuses() async throws {
        let registry = Registry()
        let desk = EnrolmentDesk(
            administration: registry.administration,
            policy: SharedSecretPolicy(secret: "s", groups: [])
        )
        var request = EnrolmentRequest(device: DeviceID(rawValue: "d"), token: "wrong")
        await assertThrows(.enrolmentRefused) { try await desk.enrol(request) }
        request.token = "s"
        request.groups = [registry.fleet]
        await assertThrows(.enrolmentRefused) { try await desk.enrol(request) }
        XCTAssertFalse("\(request)".contains("\"s\""))
    }

    func test_administration_badInput_isRefusedWithItsCode() async throws {
        let registry = Registry()
        let administration = registry.administration
        let device = DeviceID(rawValue: "d")
        await assertThrows(.invalidRequest) {
            try await administration.enrol(DeviceID(rawValue: "a/b"))
        }
        await assertThrows(.invalidRequest) {
            try await administration.enrol(device, pollingFrequency: .zero)
        }
        await assertThrows(.tooLarge) {
            let groups = (0..<65).map { GroupID(rawValue: "g\($0)") }
            return try await administration.enrol(device, groups: groups)
        }
        await assertThrows(.reservedGroup) { try await administration.join(.everyone, [device]) }
        await assertThrows(.reservedGroup) { try await administration.leave(.everyone, [device]) }
        await assertThrows(.unknownDevice) { try await administration.remove(device) }
        await assertThrows(.unknownDevice) {
            try await administration.setPollingFrequency(.seconds(5), of: device)
        }
        await assertThrows(.unknownDevice) { try await registry.directory.device(device) }
        let receipt = try await administration.join(registry.fleet, [device])
        XCTAssertEqual(receipt.unknown, 1)
        registry.capability.revoke()
        await assertThrows(.storage) { try await administration.enrol(device) }
    }

    func test_directory_pages_coverEveryDeviceOnceInOrder() async throws {
        let registry = Registry()
        let names = (0..<23).map { DeviceID(rawValue: "d\(100 + ($0 * 7) % 23)") }
        for name in names { _ = try await registry.administration.enrol(name) }
        try await registry.administration.join(registry.fleet, Array(names[..<11]))
        try await registry.administration.leave(registry.fleet, Array(names[..<4]))
        for (group, expected) in [(nil, names[...]), (registry.fleet, names[4..<11])] {
            var after: DeviceID?
            var found: [DeviceID] = []
            repeat {
                let page = try await registry.directory.devices(in: group, after: after, limit: 4)
                found += page.devices.map(\.id)
                after = page.next
            } while after != nil
            XCTAssertEqual(found, expected.sorted())
        }
    }

    func test_notes_olderThanWhatIsKnown_changeNothing() async throws {
        let registry = Registry()
        let device = DeviceID(rawValue: "d")
        _ = try await registry.administration.enrol(device)
        func at(_ time: Int64) -> Timestamp { Timestamp(milliseconds: time) }
        for time in [5, 9, 7] as [Int64] {
            registry.storage.note(contact: at(time), of: device, tenant: .standard)
            registry.storage.note(
                registration: PushRegistration(
                    transport: "http",
                    address: "\(time)",
                    registeredAt: at(time)
                ),
                of: device,
                tenant: .standard,
                receivedAt: at(time)
            )
            let information = DeviceInformation(
                kind: .location,
                body: [UInt8(time)],
                receivedAt: at(time)
            )
            let logged = registry.storage.note(
                information: information,
                of: device,
                tenant: .standard,
                number: 1
            )
            XCTAssertEqual(logged, [])
        }
        let known = try await registry.directory.device(device)
        XCTAssertEqual(known.lastSeen, at(9))
        XCTAssertEqual(known.push?.address, "9")
        let information = try await registry.directory.information(of: device)
        XCTAssertEqual(information.map(\.body), [[9]])
        XCTAssertFalse(
            registry.storage.dropRegistration(of: device, tenant: .standard, ifNoNewerThan: at(8))
        )
        XCTAssertTrue(
            registry.storage.dropRegistration(of: device, tenant: .standard, ifNoNewerThan: at(9))
        )
        XCTAssertNil(registry.storage.registration(of: device, tenant: .standard))
    }

    func test_liveness_idleTimes_followTheThresholds() {
        let rule = LivenessRule(unreachableAfter: .seconds(10), inactiveAfter: .seconds(20))
        let seen = Timestamp(milliseconds: 0)
        XCTAssertEqual(rule.liveness(lastSeen: seen, at: seen + .seconds(10)), .active)
        XCTAssertEqual(rule.liveness(lastSeen: seen, at: seen + .seconds(11)), .unreachable)
        XCTAssertEqual(rule.liveness(lastSeen: seen, at: seen + .seconds(21)), .inactive)
        XCTAssertEqual(rule.liveness(lastSeen: seen + .seconds(9), at: seen), .active)
    }

    func test_secretBox_sealed_opensWithSameKeyAndContextOnly() throws {
        let box = try SecretBox(key: Array(repeating: 7, count: 32))
        let other = try SecretBox(key: Array(repeating: 8, count: 32))
        let sealed = try box.seal([1, 2, 3], context: [9])
        XCTAssertEqual(try box.open(sealed, context: [9]), [1, 2, 3])
        XCTAssertNotEqual(try box.seal([1, 2, 3], context: [9]), sealed)
        XCTAssertThrowsError(try box.open(sealed, context: [8]))
        XCTAssertThrowsError(try other.open(sealed, context: [9]))
        for index in sealed.indices {
            var damaged = sealed
            damaged[index] ^= 1
            XCTAssertThrowsError(try box.open(damaged, context: [9]))
            XCTAssertThrowsError(try box.open(Array(sealed[..<index]), context: [9]))
        }
        XCTAssertThrowsError(try SecretBox(key: [1]))
    }

    func test_information_goodAndBadDocuments_areToldApart() {
        let good = [
            "{}", "[]", "null", " true ", "-0.5e+7", "\"\\u00e9\\n\"",
            "{\"a\":[1,{\"b\":[]}],\"c\":0}",
            "[1,2 , 3]", "\"\u{E9}\"",
        ]
        for text in good {
            XCTAssertNoThrow(try InformationRules.validate(Array(text.utf8)), text)
        }
        let bad = [
            "", "{", "}", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "01", "1.", "+1", "nul",
            "\"\\x\"",
            "\"", "[1}", "{}{}", "[1 2]", "\"\\u12g4\"", "1e", "\"\t\"",
        ]
        for text in bad {
            XCTAssertThrowsError(try InformationRules.validate(Array(text.utf8)), text)
        }
        let deep = String(repeating: "[", count: 10_000) + String(repeating: "]", count: 10_000)
        XCTAssertThrowsError(try InformationRules.validate(Array(deep.utf8)))
        XCTAssertThrowsError(try InformationRules.validate([0x22, 0xFF, 0x22]))
        let large = "\"" + String(repeating: "x", count: 65_536) + "\""
        XCTAssertThrowsError(try InformationRules.validate(Array(large.utf8)))
    }
}
