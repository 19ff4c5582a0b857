#if Server
import ClusterRole
import ClusterTestKit
import Foundation
import Logging
import NodeCertificates
import XCTest

final class CredentialSourceTests: XCTestCase {
    private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// An authority's directory and the files of one node in it.
    private func scene(
        _ scratch: Scratch
    ) throws -> (directory: CertificateDirectory, files: CertificateFiles) {
        let directory = try CertificateDirectory.make(
            at: scratch("ca"),
            trustDomain: "fleet.example",
            now: start
        )
        _ = try directory.issue(.worker, "worker-1", to: directory.path, now: start)
        return (
            directory,
            CertificateFiles(
                certificate: directory.file("worker-1.pem"),
                key: directory.file("worker-1.key"),
                authority: directory.file(CertificateDirectory.certificateName),
                revoked: directory.file(CertificateDirectory.revokedName)
            )
        )
    }

    private func source(_ files: CertificateFiles) throws -> CredentialSource {
        try CredentialSource(files: files, time: ManualTimeSource(startingAt: start), logger: quiet)
    }

    func test_files_areWrittenForTheirOwnerOnly() throws {
        let scratch = try Scratch()
        let (directory, files) = try scene(scratch)
        let all = [
            files.certificate, files.key, files.authority, directory.file("authority.key"),
            directory.file("revoked.txt"),
        ]
        for path in all {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            XCTAssertEqual(attributes[.posixPermissions] as? Int, 0o600, path)
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
        XCTAssertEqual(names.count, 5, "no file is left beside them: \(names)")
        XCTAssertThrowsError(
            try CertificateDirectory.make(
                at: directory.path,
                trustDomain: "fleet.example",
                now: start
            ),
            "an authority is never written over"
        )
    }

    func test_reload_ofChangedFiles_takesThem_andUnchangedOnesDoNothing() throws {
        let scratch = try Scratch()
        let (directory, files) = try scene(scratch)
        let source = try source(files)
        let first = source.credentials.peer
        XCTAssertFalse(try source.reload())
        let issued = try directory.issue(.worker, "worker-1", to: directory.path, now: start)
        XCTAssertTrue(try source.reload())
        XCTAssertEqual(source.credentials.peer, issued.peer)
        XCTAssertNotEqual(source.credentials.peer.serial, first.serial)
        XCTAssertEqual(source.generation, 2)
        XCTAssertEqual(source.status.rotations, 1)
    }

    func test_reload_ofACertificateWithoutItsKey_keepsTheLastGood() throws {
        let scratch = try Scratch()
        let (directory, files) = try scene(scratch)
        let source = try source(files)
        let good = source.credentials.peer
        let other = try directory.authority.issue(.worker, "worker-1", at: start)
        try CertificateFiles.write(other.certificatePEM, to: files.certificate, replaces: true)
        XCTAssertThrowsError(try source.reload())
        XCTAssertEqual(source.credentials.peer, good)
        XCTAssertNotNil(source.status.lastFailure)
        // The key follows, and both are taken together.
        try CertificateFiles.write(other.keyPEM, to: files.key, replaces: true)
        XCTAssertTrue(try source.reload())
        XCTAssertEqual(source.credentials.peer, other.peer)
        XCTAssertNil(source.status.lastFailure)
    }

    func test_revocationList_olderThanTheOneInUse_orForged_isNotTaken() throws {
        let scratch = try Scratch()
        let (directory, files) = try scene(scratch)
        let path = try XCTUnwrap(files.revoked)
        let empty = try CertificateFiles.read(path)
        let serial = try directory.authority.issue(.worker, "gone", at: start).peer.serial
        try directory.revoke(serial, now: start)
        let source = try source(files)
        XCTAssertEqual(source.status.revocationList, 2)
        for text in [
            empty,
            try CertificateFiles.read(path).replacing(serial, with: "00ff"),
            try RevocationList(trustDomain: "fleet.example", issuedAt: start)
                .adding(serial, at: start).adding("00ff", at: start)
                .signed(by: .make(trustDomain: "fleet.example", at: start)),
            "",
        ] {
            try CertificateFiles.write(text, to: path, replaces: true)
            XCTAssertThrowsError(try source.reload(), text)
            XCTAssertTrue(source.credentials.trust.revocations?.isRevoked(serial) == true)
        }
        try FileManager.default.removeItem(atPath: path)
        XCTAssertThrowsError(try source.reload(), "a list that is gone takes nothing back")
        XCTAssertTrue(source.credentials.trust.revocations?.isRevoked(serial) == true)
    }

    func test_revoke_ofManyCertificates_keepsAll_andNumbersEachList() throws {
        let scratch = try Scratch()
        let (directory, _) = try scene(scratch)
        let serials = try (0..<5).map { _ in
            try directory.authority.issue(.worker, "w", at: start).peer.serial
        }
        for serial in serials { try directory.revoke(serial.uppercased(), now: start) }
        let again = try CertificateDirectory(opening: directory.path).revocations()
        XCTAssertEqual(again.number, 6)
        XCTAssertEqual(Set(again.revoked.keys), Set(serials))
        XCTAssertThrowsError(try directory.revoke("not a number", now: start))
    }

    func test_expiry_soon_isToldInTheStatus() throws {
        let scratch = try Scratch()
        let (_, files) = try scene(scratch)
        let time = ManualTimeSource(startingAt: start)
        let source = try CredentialSource(files: files, time: time, logger: quiet)
        XCTAssertEqual(source.status.daysLeft, 90)
        time.advance(by: day * 89)
        XCTAssertEqual(source.status.daysLeft, 1)
        time.advance(by: day * 3)
        XCTAssertEqual(source.status.daysLeft, -2)
    }

    func test_credentials_ofAnotherNodeOrRole_areNotThisNodes() throws {
        let scratch = try Scratch()
        let (_, files) = try scene(scratch)
        let credentials = try files.load()
        XCTAssertNoThrow(try credentials.require("worker-1", [.worker]))
        XCTAssertThrowsError(try credentials.require("worker-2", [.worker]))
        XCTAssertThrowsError(try credentials.require("worker-1", [.manager])) {
            XCTAssertEqual(($0 as? NodeCertificateError)?.code, .wrongRole)
        }
        XCTAssertFalse("\(credentials)".contains("PRIVATE"), "no key in a description")
    }
}
#endif
