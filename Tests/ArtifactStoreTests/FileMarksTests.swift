import ArtifactStore
import ClusterRole
import Foundation
import Logging
import XCTest

/// What is not read again, and what is.
final class FileMarksTests: XCTestCase {
    private func publisher(_ harness: Harness) -> ArtifactPublisher {
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = harness.directory.path
        configuration.scanMemory = harness.directory.path("scans")
        configuration.logger.logLevel = .critical
        return ArtifactPublisher(
            storage: harness.releases,
            objects: harness.objects,
            signer: harness.signer,
            capability: harness.capability,
            configuration: configuration
        )
    }

    private func setTime(_ seconds: Int, of path: String) {
        var times = [
            timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0),
        ]
        XCTAssertEqual(utimensat(AT_FDCWD, path, &times, 0), 0)
    }

    private func roots(_ harness: Harness) async throws -> [TreeID] {
        try await harness.releases.releases(
            of: Harness.channel,
            tenant: .standard,
            before: nil,
            limit: 10
        ).map(\.release.root)
    }

    /// As a package manager or `rsync -t` does: other bytes, the same size, the old time put back.
    func test_publish_ofAFileWhoseTimeWasSetBack_readsIt() async throws {
        let harness = try Harness()
        let publisher = publisher(harness)
        let source = try harness.directory.write(["a": "one", "b": "same"])
        setTime(1_000_000_000, of: "\(source)/a")
        let first = try await publisher.publish(source, to: Harness.channel)
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(source)/a"))
        try file.write(contentsOf: Data("two".utf8))
        try file.close()
        setTime(1_000_000_000, of: "\(source)/a")
        let second = try await publisher.publish(source, to: Harness.channel)
        XCTAssertEqual(second.outcome, .published)
        XCTAssertNotEqual(first.release.release.root, second.release.release.root)
        let sync = harness.sync()
        try await sync.syncOnce()
        XCTAssertEqual(harness.current("a"), "two")
    }

    /// Written again within the tick of the clock in which it was read: its time does not tell.
    func test_publish_ofAFileWrittenInTheSameTick_readsIt() async throws {
        for round in 0..<20 {
            let harness = try Harness()
            let publisher = publisher(harness)
            let source = try harness.directory.write(["a": "one"])
            _ = try await publisher.publish(source, to: Harness.channel)
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(source)/a"))
            try file.write(contentsOf: Data("two".utf8))
            try file.close()
            let second = try await publisher.publish(source, to: Harness.channel)
            XCTAssertEqual(second.outcome, .published, "round \(round)")
        }
    }

    /// Unreadable files show which ones are read. Nobody but root can read them all, so the test
    /// damages what was remembered instead: a file that is read is found as it is.
    func test_publish_ofAnUntouchedTree_believesWhatItRemembers_andADamagedMemoryIsNoMemory()
        async throws
    {
        let harness = try Harness()
        let publisher = publisher(harness)
        let source = try harness.directory.write(["a": "one", "d/b": "two"])
        let first = try await publisher.publish(source, to: Harness.channel)
        let memory = harness.directory.path("scans")
        let names = try FileManager.default.contentsOfDirectory(atPath: memory).sorted()
        XCTAssertEqual(names.count, 2)
        for name in names {
            let url = URL(fileURLWithPath: "\(memory)/\(name)")
            let good = try Data(contentsOf: url)
            for bit in stride(from: 0, to: good.count * 8, by: 7) {
                var bytes = good
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                try bytes.write(to: url)
                let again = try await publisher.publish(source, to: Harness.channel)
                XCTAssertEqual(again.outcome, .unchanged, "\(name), bit \(bit)")
                XCTAssertEqual(again.release, first.release)
            }
        }
    }

    func test_update_ofATreeNobodyWroteTo_linksItsFiles_andReadsThoseThatWereTouched() async throws
    {
        for check in [CarryCheck.marks, .digests] {
            let harness = try Harness()
            let sync = harness.sync { $0.carryCheck = check }
            // So long that an update is worth its while.
            let long = (0..<500).map { "\($0 &* 2_654_435_761)" }.joined()
            let kept = ["b": "kept", "c": "kept too", "d": long]
            func tree(_ a: String) -> [String: String] { kept.merging(["a": a]) { $1 } }
            _ = try await harness.publish(tree("1"))
            try await sync.syncOnce()
            let old = try XCTUnwrap(sync.active)
            // Its time moves, its content does not: it is read, and is fine.
            setTime(1_000_000_000, of: old.path(of: "b"))
            _ = try await harness.publish(tree("2"))
            let report = try await sync.syncOnce()
            XCTAssertEqual(report.transfer, .incremental)
            let new = try XCTUnwrap(sync.active)
            for name in ["b", "c"] {
                XCTAssertEqual(try inode(new.path(of: name)), try inode(old.path(of: name)))
            }
            // Other bytes of the same length: found, and mended by the full bundle.
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: new.path(of: "c")))
            try file.write(contentsOf: Data("KEPT".utf8))
            try file.close()
            _ = try await harness.publish(tree("3"))
            let mended = try await sync.syncOnce()
            XCTAssertEqual(mended.transfer, .full)
            XCTAssertEqual(harness.current("c"), "kept too")
        }
    }

    private func inode(_ path: String) throws -> UInt64 {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        return (attributes[.systemFileNumber] as? NSNumber)?.uint64Value ?? 0
    }
}
