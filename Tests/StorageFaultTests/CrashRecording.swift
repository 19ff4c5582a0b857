#if SQLite
import CrashImageSupport
import XCTest

/// The events of the present recording, for any task.
enum Recorded {
    static var events: Int64 { crash_event_count() }
}

/// The recorded life of one SQLite file: every write and sync, and when what was acknowledged.
///
/// ``explore(seed:reopenEvery:reopen:)`` then makes the file as a power cut at each moment could have
/// left it, and looks whether it opens and holds what had been acknowledged.
///
/// One recording at a time: the shim beneath it belongs to the process.
final class CrashRecording {
    /// What had been acknowledged when so many events had happened.
    private struct Acknowledgement {
        var events: Int64
        var digest: UInt64
    }

    /// What exploring found.
    struct Findings {
        var images = 0
        var reopened = 0
        /// Images without something that had been acknowledged.
        var losses = 0
        /// Images whose content is that of no moment of the workload.
        var foreign = 0
        /// Images that could not be read, and why.
        var unreadable: [String] = []
    }

    let path: String
    private let directory: TestDirectory
    private let images: String
    private var acknowledgements: [Acknowledgement] = []

    /// - Parameter prepare: makes the file first, at the path it is given; durable and not recorded.
    init(prepare: (String) async throws -> Void = { _ in }) async throws {
        XCTAssertEqual(crash_install(), 0)
        directory = try TestDirectory()
        images = try directory.folder("images")
        let live = try directory.folder("live")
        path = live + "/store.sqlite"
        try await prepare(path)
        crash_begin(live)
    }

    deinit { crash_end() }

    var events: Int64 { crash_event_count() }

    /// Remembers the content of the file now: all calls made so far have returned.
    func acknowledge() throws {
        acknowledgements.append(
            Acknowledgement(events: events, digest: try Self.digest(of: path).digest)
        )
    }

    /// - Throws: if the file cannot be read or fails the integrity check.
    static func digest(of path: String) throws -> (digest: UInt64, tables: Int) {
        var digest: UInt64 = 0
        var tables: Int64 = 0
        let code = crash_digest(path, &digest, &tables)
        if code != 0 { throw Unreadable(code: code) }
        return (digest, Int(tables))
    }

    struct Unreadable: Error { var code: Int32 }

    /// Makes an image of the file after so many events and returns its path.
    func image(after events: Int64, keeping kept: Int, seed: UInt64) throws -> String {
        let code = crash_image(events, Int32(kept), seed, images)
        if code != 0 { throw Unreadable(code: code) }
        return images + "/store.sqlite"
    }

    /// Makes every image and looks at it.
    ///
    /// - Parameters:
    ///   - seed: of the subsets of unsynced sectors that survive.
    ///   - reopenEvery: every how-manyth image is opened as a node would.
    ///   - reopen: opens the image at a path, checks what was acknowledged after so many events, closes.
    func explore(
        seed: UInt64,
        reopenEvery: Int,
        reopen: (_ path: String, _ events: Int64) async throws -> Void
    ) async throws -> Findings {
        var findings = Findings()
        let known = acknowledgements.map(\.digest)
        var acknowledged = -1
        for count in 0...events {
            while acknowledged + 1 < acknowledgements.count,
                acknowledgements[acknowledged + 1].events <= count
            { acknowledged += 1 }
            for kept in kinds(after: count) {
                findings.images += 1
                let path = try image(after: count, keeping: kept, seed: seed &+ UInt64(count))
                do {
                    let found = try Self.digest(of: path).digest
                    judge(found, known, acknowledged, &findings)
                    if findings.images % reopenEvery == 0 {
                        findings.reopened += 1
                        try await reopen(path, count)
                        if acknowledged >= 0, try Self.digest(of: path).digest != found {
                            findings.foreign += 1
                        }
                    }
                } catch {
                    findings.unreadable.append("event \(count), kept \(kept): \(error)")
                }
            }
        }
        return findings
    }

    /// Which kinds of image differ from those of the event before.
    private func kinds(after count: Int64) -> [Int] {
        guard count > 0 else { return [CRASH_KEEP_NONE] }
        switch Int(crash_event_kind(count - 1)) {
        case CRASH_EVENT_SYNC, CRASH_EVENT_FAILED_SYNC: return [CRASH_KEEP_NONE]
        case CRASH_EVENT_DELETE: return [CRASH_KEEP_NONE, CRASH_KEEP_ALL, CRASH_KEEP_SOME]
        default:
            // Nothing survives of it: the image of the sync before. Once more, for an acknowledgement
            // that had no sync since.
            return count == events || acknowledgements.contains { $0.events == count }
                ? [CRASH_KEEP_NONE, CRASH_KEEP_ALL, CRASH_KEEP_SOME]
                : [CRASH_KEEP_ALL, CRASH_KEEP_SOME]
        }
    }

    private func judge(
        _ found: UInt64,
        _ known: [UInt64],
        _ acknowledged: Int,
        _ findings: inout Findings
    ) {
        guard acknowledged >= 0 else { return }
        let allowed = known[acknowledged...min(acknowledged + 1, known.count - 1)]
        if allowed.contains(found) { return }
        if known[..<acknowledged].contains(found) {
            findings.losses += 1
        } else {
            findings.foreign += 1
        }
    }
}
#endif
