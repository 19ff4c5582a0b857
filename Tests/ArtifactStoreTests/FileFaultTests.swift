#if os(Linux)
import ClusterRole
import FileFaultSupport
import Foundation
import Synchronization
import XCTest

@testable import ArtifactStore

/// Promises 7 and 10 where the disk fails: whatever step a full disk or a power cut hits, a node has the
/// old release or the new one, whole, and never loses the one it acknowledged.
final class FileFaultTests: XCTestCase {
    private let web: ChannelName = "web"
    private let first = ["a": "old", "same": "kept", "dir/b": "old too", "gone": "x"]
    private let second = ["a": "new!", "same": "kept", "dir/b": "new too!", "dir/c": "more"]

    override func setUpWithError() throws {
        try XCTSkipUnless(file_fault_is_available() != 0, "file steps cannot be watched here")
    }

    override func tearDown() { FileSteps.stop() }

    /// A worker on release 1, closed, and release 2 on the shelf.
    private func prepared() async throws -> Shelf {
        let shelf = try Shelf()
        try await shelf.publish(first, to: web)
        try await shelf.sync(web).syncOnce()
        try await shelf.publish(second, to: web)
        return shelf
    }

    private func worker(_ shelf: Shelf, in name: String = "worker") -> ArtifactSync {
        shelf.sync(web, in: name) { $0.startCheck = .none }
    }

    /// Which of the two a directory is, byte by byte; anything else is a mixture.
    private func content(of directory: String) throws -> ReleaseNumber {
        let directory = URL(fileURLWithPath: directory).resolvingSymlinksInPath().path
        var found: [String: String] = [:]
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
            let data = FileManager.default.contents(atPath: "\(directory)/\(name)") ?? Data()
            let attributes = try FileManager.default.attributesOfItem(
                atPath: "\(directory)/\(name)"
            )
            guard attributes[.type] as? FileAttributeType == .typeRegular else { continue }
            found[name] = String(decoding: data, as: UTF8.self)
        }
        if found == first { return ReleaseNumber(1) }
        if found == second { return ReleaseNumber(2) }
        throw Mixture(files: found)
    }

    private struct Mixture: Error { let files: [String: String] }

    // MARK: - Disk full

    func test_activation_withTheDiskFullAtEveryStep_keepsTheOldOrHasTheNew() async throws {
        var steps = 0
        var refusedSteps = 0
        while true {
            let shelf = try await prepared()
            let path = shelf.directory.path("worker")
            let sync = worker(shelf)
            try await sync.start()
            FileSteps.fail(from: steps, with: ENOSPC, below: path)
            do {
                let report = try await sync.syncOnce()
                if case .refused(let error) = report.outcome {
                    return XCTFail("step \(steps): a full disk is no refusal: \(error)")
                }
            } catch let error as ArtifactStoreError {
                XCTAssertEqual(error.code, .fileSystem, "step \(steps)")
                refusedSteps += 1
            }
            let hit = FileSteps.stop()
            guard hit > 0 else { break }
            let active = try XCTUnwrap(sync.active, "step \(steps)")
            XCTAssertEqual(try content(of: active.directory), active.release.number)
            if shelf.words(about: web).contains(where: { $0.number == ReleaseNumber(2) }) {
                XCTAssertEqual(active.release.number, ReleaseNumber(2), "step \(steps)")
            }
            // Once there is room again it goes on by itself.
            try await sync.syncOnce()
            XCTAssertEqual(sync.active?.release.number, ReleaseNumber(2), "step \(steps)")
            XCTAssertEqual(try content(of: "\(path)/current"), ReleaseNumber(2))
            steps += 1
        }
        XCTAssertGreaterThan(steps, 15, "every step was hit")
        XCTAssertGreaterThan(refusedSteps, 10)
    }

    // MARK: - Power cut

    /// The image of the disk after a power cut behind every step: with the last names lost or kept,
    /// and with the content of files that were not made durable lost or kept.
    func test_activation_withAPowerCutAtEveryStep_isTheOldOrTheNew_neverAMixture() async throws {
        let shelf = try await prepared()
        let path = shelf.directory.path("worker")
        let before = shelf.directory.path("before")
        try FileManager.default.copyItem(atPath: path, toPath: before)
        try Self.linkAgain(like: path, in: before)
        var acknowledgedAt: Int?
        do {
            let source = AcknowledgedSource(base: shelf) { acknowledgedAt = FileSteps.count }
            let sync = shelf.sync(web, source: source) { $0.startCheck = .none }
            FileSteps.record(below: path)
            try await sync.syncOnce()
            XCTAssertEqual(sync.active?.release.number, ReleaseNumber(2))
        }
        let steps = FileSteps.recorded()
        FileSteps.stop()
        let acknowledged = try XCTUnwrap(acknowledgedAt)
        XCTAssertGreaterThan(steps.count, 20)
        var outcomes: [ReleaseNumber: Int] = [:]
        var images = 0
        shelf.isDown = true
        for cut in 0...steps.count {
            for (names, keepsContent) in DiskImage.variants(of: steps, cut: cut) {
                images += 1
                let name = "cut-\(images)"
                let image = shelf.directory.path(name)
                try FileManager.default.copyItem(atPath: before, toPath: image)
                try Self.linkAgain(like: before, in: image)
                try DiskImage(from: path, to: image).replay(
                    steps,
                    cut: cut,
                    names: names,
                    keepsContent: keepsContent
                )
                let label =
                    "cut \(cut) of \(steps.count), names to \(names), content \(keepsContent)"
                let sync = worker(shelf, in: name)
                try await sync.start()
                let active = try XCTUnwrap(sync.active, label)
                do {
                    let number = try content(of: active.directory)
                    XCTAssertEqual(number, active.release.number, label)
                    outcomes[number, default: 0] += 1
                } catch {
                    XCTFail("\(label): \(error)")
                }
                if cut >= acknowledged {
                    XCTAssertEqual(active.release.number, ReleaseNumber(2), "lost: \(label)")
                }
                if images % 20 == 0 {
                    shelf.isDown = false
                    try await sync.syncOnce()
                    XCTAssertEqual(sync.active?.release.number, ReleaseNumber(2), label)
                    shelf.isDown = true
                }
                try? FileManager.default.removeItem(atPath: image)
            }
        }
        XCTAssertGreaterThan(images, 60)
        XCTAssertGreaterThan(outcomes[ReleaseNumber(1)] ?? 0, 10, "\(outcomes)")
        XCTAssertGreaterThan(outcomes[ReleaseNumber(2)] ?? 0, 2, "\(outcomes)")
    }

    /// A copy of a directory breaks hard links; there is one release, so there is nothing to mend.
    private static func linkAgain(like original: String, in copy: String) throws {
        let releases = try FileManager.default.contentsOfDirectory(atPath: "\(copy)/releases")
        XCTAssertEqual(releases.count, 1)
    }
}

/// Notes the moment of an acknowledgement.
private final class AcknowledgedSource: ReleaseSource {
    private let base: any ReleaseSource
    private let note: Note

    private struct Note: @unchecked Sendable { let run: () -> Void }

    init(base: any ReleaseSource, _ note: @escaping () -> Void) {
        self.base = base
        self.note = Note(run: note)
    }

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        try await base.latestRelease(of: channel, tenant: tenant, unlessAt: revision)
    }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        try await base.bundle(bundle, from: offset)
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        note.run()
        try await base.acknowledge(applied, tenant: tenant)
    }
}

/// What the process did to files.
struct FileStep: Sendable {
    let kind: Int
    let path: String
    let other: String
    let bytes: [UInt8]
    let mode: UInt32
}

/// The observer behind the C functions.
enum FileSteps {
    private struct State {
        var steps: [FileStep] = []
        /// The step that begins to fail; `nil` only records.
        var failing: (from: Int, error: Int32)?
        var seen = 0
        var failed = 0
    }

    private static let state = Mutex(State())

    /// Steps that need room.
    private static let allocating: Set<Int> = [
        FILE_FAULT_CREATE, FILE_FAULT_WRITE, FILE_FAULT_SYNC, FILE_FAULT_SYNC_FILE_SYSTEM,
        FILE_FAULT_MAKE_DIRECTORY, FILE_FAULT_MAKE_LINK, FILE_FAULT_HARD_LINK, FILE_FAULT_RENAME,
    ]

    static var count: Int { state.withLock { $0.steps.count } }

    static func record(below path: String) {
        state.withLock { $0 = State() }
        file_fault_observe(observer, path)
    }

    /// From the given step on, every step that needs room fails.
    static func fail(from step: Int, with error: Int32, below path: String) {
        state.withLock {
            $0 = State()
            $0.failing = (step, error)
        }
        file_fault_observe(observer, path)
    }

    static func recorded() -> [FileStep] { state.withLock { $0.steps } }

    /// - Returns: how many steps failed.
    @discardableResult
    static func stop() -> Int {
        file_fault_observe(nil, nil)
        return state.withLock { $0.failed }
    }

    private static let observer: file_fault_observer = { step, isDone in
        guard let step = step?.pointee else { return 0 }
        let kind = Int(step.kind)
        return FileSteps.state.withLock { state in
            if isDone == 0 {
                guard let failing = state.failing, allocating.contains(kind) else { return 0 }
                defer { state.seen += 1 }
                guard state.seen >= failing.from else { return 0 }
                state.failed += 1
                return failing.error
            }
            if state.failing == nil {
                state.steps.append(
                    FileStep(
                        kind: kind,
                        path: step.path.map { String(cString: $0) } ?? "",
                        other: step.other.map { String(cString: $0) } ?? "",
                        bytes: Array(UnsafeRawBufferPointer(start: step.bytes, count: step.count)),
                        mode: step.mode
                    )
                )
            }
            return 0
        }
    }
}

/// What a disk holds after a power cut.
///
/// Names (creating, linking, renaming, removing) reach the disk in their order: all of those before
/// the last sync of a directory or of the file system are there, of the later ones any prefix. The
/// content of a file is there if the file or the file system was made durable after it was written;
/// otherwise it may be lost, which leaves the file empty.
struct DiskImage {
    let from: String
    let to: String

    /// The prefixes of names to try, each with unsynced content kept and lost.
    static func variants(of steps: [FileStep], cut: Int) -> [(names: Int, keepsContent: Bool)] {
        let durable =
            steps[..<cut].lastIndex {
                $0.kind == FILE_FAULT_SYNC_FILE_SYSTEM
                    || $0.kind == FILE_FAULT_SYNC && isDirectory($0.path, in: steps)
            }.map { $0 + 1 } ?? 0
        let prefixes = Set([durable, (durable + cut) / 2, cut])
        return prefixes.sorted().flatMap { [($0, true), ($0, false)] }
    }

    /// A file was created in the recording, or written; anything else that is synced is a directory.
    private static func isDirectory(_ path: String, in steps: [FileStep]) -> Bool {
        !steps.contains { $0.kind == FILE_FAULT_CREATE && $0.path == path }
    }

    func replay(_ steps: [FileStep], cut: Int, names: Int, keepsContent: Bool) throws {
        var unsynced: Set<String> = []
        for (index, step) in steps[..<cut].enumerated() {
            let path = moved(step.path)
            switch step.kind {
            case FILE_FAULT_WRITE:
                guard index < names || FileManager.default.fileExists(atPath: path) else {
                    continue
                }
                let file = open(path, O_WRONLY | O_APPEND)
                guard file >= 0 else { continue }
                _ = step.bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
                close(file)
                unsynced.insert(path)
            case FILE_FAULT_SYNC: unsynced.remove(path)
            case FILE_FAULT_SYNC_FILE_SYSTEM: unsynced = []
            default:
                guard index < names else { continue }
                try perform(step, path, &unsynced)
            }
        }
        guard !keepsContent else { return }
        for path in unsynced { truncate(path, 0) }
    }

    private func perform(_ step: FileStep, _ path: String, _ unsynced: inout Set<String>) throws {
        let other = moved(step.other)
        var result: Int32 = 0
        switch step.kind {
        case FILE_FAULT_CREATE:
            let file = open(path, O_CREAT | O_WRONLY, step.mode)
            result = file
            if file >= 0 { close(file) }
            unsynced.insert(path)
        case FILE_FAULT_MAKE_DIRECTORY: result = mkdir(path, step.mode)
        case FILE_FAULT_MAKE_LINK: result = symlink(step.other, path)
        case FILE_FAULT_HARD_LINK: result = link(path, other)
        case FILE_FAULT_CHANGE_MODE: result = chmod(path, step.mode)
        case FILE_FAULT_REMOVE_FILE:
            result = unlink(path)
            unsynced.remove(path)
        case FILE_FAULT_REMOVE_DIRECTORY: result = rmdir(path)
        case FILE_FAULT_RENAME:
            result = rename(path, other)
            let below = unsynced.filter { $0 == path || $0.hasPrefix(path + "/") }
            unsynced.subtract(below)
            unsynced.formUnion(below.map { other + $0.dropFirst(path.count) })
        case FILE_FAULT_EXCHANGE:
            let beside = path + ".exchanging"
            result = min(rename(path, beside), rename(other, path), rename(beside, other))
        default: break
        }
        guard result >= 0 else { throw ReplayFailed(step: step, error: errno) }
    }

    private struct ReplayFailed: Error {
        let step: FileStep
        let error: Int32
    }

    private func moved(_ path: String) -> String {
        path.hasPrefix(from) ? to + path.dropFirst(from.count) : path
    }
}
#endif
