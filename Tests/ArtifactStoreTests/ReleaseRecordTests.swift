import ArtifactStore
import ClusterRole
import ClusterTestKit
import XCTest

final class ReleaseRecordTests: XCTestCase {
    private func record(
        needs dependencies: [ReleaseDependency] = [],
        _ requirements: ReleaseRequirements = .none,
        publisher: PublisherName? = nil
    ) throws -> Release {
        let sample = try ReleaseStorageConformance.sample(3).release
        return Release(
            tenant: sample.tenant,
            channel: sample.channel,
            kind: sample.kind,
            number: sample.number,
            tree: try TreeManifest(entries: []),
            previousRoot: nil,
            created: sample.created,
            expires: nil,
            key: sample.key,
            links: .insideTree,
            dependencies: dependencies,
            requirements: requirements,
            publisher: publisher
        )
    }

    func test_record_withDependenciesAndRequirements_isCanonicalAndReadsBack() throws {
        let first = try record(
            needs: [
                ReleaseDependency("web/z", atLeast: ReleaseNumber(2)), ReleaseDependency("web/a"),
                ReleaseDependency("web/z", atLeast: ReleaseNumber(5)),
            ],
            ReleaseRequirements(
                capabilities: ["java-21", "gpu", "java-21"],
                softwareVersion: try SoftwareVersion(parsing: "2.10")
            ),
            publisher: "build-server"
        )
        XCTAssertEqual(
            first.dependencies,
            [
                ReleaseDependency("web/a"),
                ReleaseDependency("web/z", atLeast: ReleaseNumber(5)),
            ]
        )
        XCTAssertEqual(first.requirements.capabilities, ["gpu", "java-21"])
        let second = try record(
            needs: first.dependencies.reversed(),
            ReleaseRequirements(
                capabilities: ["java-21", "gpu"],
                softwareVersion: try SoftwareVersion(parsing: "2.10.0")
            ),
            publisher: "build-server"
        )
        XCTAssertEqual(first.encoded, second.encoded)
        XCTAssertEqual(try Release(decoding: first.encoded), first)
        for length in 0..<first.encoded.count {
            XCTAssertThrowsError(try Release(decoding: Array(first.encoded[..<length])))
        }
    }

    func test_record_ofVersion1_isStillRead_andItsSignatureToo() throws {
        let new = try record()
        // What version 2 added is four empty fields at the end.
        let old = [1] + new.encoded.dropFirst().dropLast(4)
        XCTAssertEqual(try Release(decoding: Array(old)), new)
        let signature = [UInt8](repeating: 7, count: 64)
        var envelope = ByteWriter()
        envelope.write(UInt8(1))
        envelope.write(Array(old))
        envelope.write(signature)
        let signed = try SignedRelease(decoding: envelope.bytes)
        XCTAssertEqual(signed.record, Array(old))
        XCTAssertEqual(signed.signature, signature)
        XCTAssertEqual(try SignedRelease(decoding: signed.encoded), signed)
    }

    func test_record_thatNeedsItsOwnChannel_isRefused() async throws {
        let own = try record(needs: [ReleaseDependency("web/site")])
        await assertThrows(.dependencyCycle) { try own.validate() }
        await assertThrows(.dependencyCycle) { _ = try Release(decoding: own.encoded) }
        await assertThrows(.dependencyCycle) { _ = try await Ed25519Signer().sign(own) }
    }

    func test_record_aboveALimit_isRefused_andAtTheLimitsItFits() async throws {
        func needs(_ count: Int) -> [ReleaseDependency] {
            (0..<count).map {
                let number = String(100 + $0)
                let name = number + String(repeating: "c", count: 252)
                return ReleaseDependency(ChannelName(rawValue: name), atLeast: ReleaseNumber(.max))
            }
        }
        func names(_ count: Int) -> [CapabilityName] {
            (0..<count).map { number in
                CapabilityName(rawValue: String(100 + number) + String(repeating: "n", count: 61))
            }
        }
        let full = try record(
            needs: needs(Release.maximumDependencies),
            ReleaseRequirements(capabilities: names(ReleaseRequirements.maximumCapabilities)),
            publisher: PublisherName(rawValue: String(repeating: "p", count: 255))
        )
        XCTAssertLessThanOrEqual(full.encoded.count + 3 * 255, SignedRelease.maximumRecordBytes)
        XCTAssertEqual(try Release(decoding: full.encoded), full)
        let many = try record(needs: needs(Release.maximumDependencies + 1))
        await assertThrows(.limitExceeded) { try many.validate() }
        let able = try record(
            ReleaseRequirements(capabilities: names(ReleaseRequirements.maximumCapabilities + 1))
        )
        await assertThrows(.limitExceeded) { try able.validate() }
        for wrong in ["", "a b", "a/b", String(repeating: "n", count: 65)] {
            let named = try record(
                ReleaseRequirements(capabilities: [CapabilityName(rawValue: wrong)])
            )
            await assertThrows(.invalidName) { try named.validate() }
        }
    }

    func test_softwareVersion_isComparedAsNumbers_andHasOneSpelling() async throws {
        let versions = try ["0.9", "2", "2.9.9", "2.10", "2.10.0.1", "2.10.1", "10"].map {
            try SoftwareVersion(parsing: $0)
        }
        XCTAssertEqual(versions.sorted(), versions)
        XCTAssertEqual(versions.map(\.description)[3], "2.10.0")
        XCTAssertEqual(try SoftwareVersion(parsing: "2.10.0.0"), versions[3])
        for wrong in ["", ".", "1.", "1..2", "1.2.3.4.5", "01", "1.-2", "v1", "1.2a", "1234567890"]
        {
            await assertThrows(.invalidName) { _ = try SoftwareVersion(parsing: wrong) }
        }
    }

    func test_requirements_ofANodeThatLacksSome_areNamed() throws {
        let needs = ReleaseRequirements(
            capabilities: ["gpu", "java-21"],
            softwareVersion: try SoftwareVersion(parsing: "2.1")
        )
        let old = NodeAbilities(
            capabilities: ["gpu", "other"],
            softwareVersion: try SoftwareVersion(parsing: "2.0.3")
        )
        XCTAssertEqual(
            needs.unmet(by: old).map(\.description),
            ["capability java-21", "software 2.1.0, has 2.0.3"]
        )
        XCTAssertEqual(needs.unmet(by: NodeAbilities()).count, 3)
        XCTAssertEqual(ReleaseRequirements.none.unmet(by: NodeAbilities()), [])
        let able = NodeAbilities(
            capabilities: ["gpu", "java-21"],
            softwareVersion: try SoftwareVersion(parsing: "2.1.0")
        )
        XCTAssertEqual(needs.unmet(by: able), [])
    }
}
