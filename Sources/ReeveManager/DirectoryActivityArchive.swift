#if Server && SQLite
public import ClusterRole
public import DeviceRegistry
internal import Foundation
public import OperationQueue
internal import Synchronization

/// An archive of JSON lines in a directory, a file a day: `activities-2026-11-21.jsonl`.
///
/// A line has a member `activity`, or `execution` with the activity it belongs to; an activity's line is
/// followed by those of its executions and, when all are there, by one with a member `complete`. The file
/// is synced before an activity counts as archived. What a crash tore off comes again: a reader takes the
/// last complete copy.
public final class DirectoryActivityArchive: ActivityArchive {
    private let directory: String
    private let clock: any TimeSource
    private let turn = Mutex<Void>(())

    /// - Parameters:
    ///   - directory: an absolute path; it is made if it is missing.
    ///   - clock: tells the day.
    /// - Throws: what the file system throws when it cannot be made.
    public init(directory: String, clock: any TimeSource = SystemTimeSource()) throws {
        self.directory = directory
        self.clock = clock
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
    }

    public func archive(
        _ activity: Activity,
        executions: @escaping @Sendable (_ after: DeviceID?) async throws -> ExecutionPage
    ) async throws {
        try append([.init(activity: ArchivedActivity(activity))], syncs: false)
        var after: DeviceID?
        repeat {
            let page = try await executions(after)
            try append(
                page.executions.map {
                    .init(execution: ArchivedExecution($0, of: activity.id))
                },
                syncs: false
            )
            after = page.next
        } while after != nil
        try append([.init(complete: activity.id.description)], syncs: true)
    }

    private struct Line: Encodable {
        var activity: ArchivedActivity?
        var execution: ArchivedExecution?
        var complete: String?
    }

    private func append(_ lines: [Line], syncs: Bool) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var data = Data()
        for line in lines {
            data.append(try encoder.encode(line))
            data.append(0x0A)
        }
        let day = Date(timeIntervalSince1970: Double(clock.now().milliseconds) / 1_000)
            .formatted(.iso8601.year().month().day())
        let path = "\(directory)/activities-\(day).jsonl"
        try turn.withLock { _ in
            let isNew = !FileManager.default.fileExists(atPath: path)
            if isNew {
                _ = FileManager.default.createFile(
                    atPath: path,
                    contents: nil,
                    attributes: [.posixPermissions: 0o600]
                )
            }
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            defer { try? file.close() }
            let end = try file.seekToEnd()
            if end > 0 {
                // A line that a crash tore off must not take the next one with it.
                try file.seek(toOffset: end - 1)
                if try file.read(upToCount: 1) != Data([0x0A]) {
                    try file.write(contentsOf: [0x0A])
                }
            }
            try file.write(contentsOf: data)
            if syncs { try file.synchronize() }
            if isNew {
                let entry = try FileHandle(forReadingFrom: URL(fileURLWithPath: directory))
                defer { try? entry.close() }
                try entry.synchronize()
            }
        }
    }
}

/// An activity as a line has it.
private struct ArchivedActivity: Encodable {
    var id: String
    var tenant: String
    var number: Int64
    var code: String
    var payload: Data
    var group: String?
    var initiator: String
    var state: String
    var addressed: Int
    var answeredLate: Int
    var createdAt: Int64
    var closedAt: Int64?

    init(_ activity: Activity) {
        id = activity.id.description
        tenant = activity.tenant.rawValue
        number = activity.operation.number
        code = activity.operation.code.rawValue
        payload = Data(activity.operation.payload)
        group = activity.group?.rawValue
        initiator = activity.initiator
        state = String(describing: activity.state)
        addressed = activity.addressed
        answeredLate = activity.answeredLate
        createdAt = activity.operation.createdAt.milliseconds
        closedAt = activity.closedAt?.milliseconds
    }
}

/// An execution as a line has it.
private struct ArchivedExecution: Encodable {
    var activity: String
    var id: String
    var device: String
    var state: String
    var version: Int32
    var redeliveries: Int32
    var updatedAt: Int64
    var detail: Data
    var lateAnswer: Data?

    init(_ execution: Execution, of activity: ActivityID) {
        self.activity = activity.description
        id = execution.id.description
        device = execution.id.device.rawValue
        state = execution.state.name
        version = execution.version
        redeliveries = execution.redeliveries
        updatedAt = execution.updatedAt.milliseconds
        detail = Data(execution.detail)
        lateAnswer = execution.lateAnswer.map { Data($0) }
    }
}
#endif
