#if SQLite
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif
internal import ClusterRole
internal import DeviceRegistry
internal import SQLiteEngine

/// The named devices of an operation, kept for good: pages of device indexes in order of device id.
///
/// Two hundred devices a row make an operation to 100,000 devices 500 rows of history, beside the
/// `target` rows, which stand only while the activity is live.
struct TargetPage {
    /// Devices a page. Its row fits a database page, so it is found in one step.
    static let size = 200

    var page: Int
    var first: DeviceID
    var devices: [Int64]

    init(page: Int, first: DeviceID, devices: [Int64]) {
        self.page = page
        self.first = first
        self.devices = devices
    }

    init(_ row: PreparedStatement) throws {
        try row.verify("target_page", sum: 4)
        page = row.int(1)
        first = DeviceID(rawValue: row.text(2))
        var reader = ByteReader(row.blob(3))
        try reader.expectVersion(1, of: "target pages")
        devices = try reader.readArray { (reader) throws(ClusterRoleError) in
            try reader.readInt64()
        }
    }

    func store(_ connection: SQLConnection, number: Int64) throws {
        var writer = ByteWriter(capacity: 8 + devices.count * 4)
        writer.write(UInt8(1))
        writer.write(array: devices) { $0.write($1) }
        try connection.run(
            sealedFor: "target_page",
            "INSERT INTO target_page (number, page, first, devices, sum) VALUES (?, ?, ?, ?, ?)",
            number,
            page,
            first.rawValue,
            writer.bytes
        )
    }
}

/// A named device that was found.
struct NamedTarget {
    var device: DeviceID
    var idx: Int64

    /// The order of the database: that of the UTF-8 bytes.
    static func precedes(_ left: NamedTarget, _ right: NamedTarget) -> Bool {
        var left = left.device.rawValue
        var right = right.device.rawValue
        return left.withUTF8 { left in
            right.withUTF8 { right in
                let common = min(left.count, right.count)
                let order: Int32
                if let left = left.baseAddress, let right = right.baseAddress {
                    order = memcmp(left, right, common)
                } else {
                    order = 0
                }
                return order != 0 ? order < 0 : left.count < right.count
            }
        }
    }
}

extension SQLConnection {
    /// Stores whom an operation names: `targets` in order, without repetition.
    func store(_ targets: [NamedTarget], number: Int64) throws {
        try withStatement(
            "INSERT INTO target (device_idx, number, sum) VALUES (?, ?, ?)"
        ) { statement in
            for target in targets {
                knownDevice(at: target.idx)?.targets = nil
                try statement.bind(sealedFor: "target", target.idx, number)
                try statement.step()
                statement.reset()
            }
        }
        var start = 0
        while start < targets.count {
            let end = min(start + TargetPage.size, targets.count)
            try TargetPage(
                page: start / TargetPage.size,
                first: targets[start].device,
                devices: targets[start..<end].map(\.idx)
            ).store(self, number: number)
            start = end
        }
    }

    /// Pages from `page` on, in order.
    func targetPages(_ number: Int64, from page: Int, limit: Int) throws -> [TargetPage] {
        try rows(
            """
            SELECT number, page, first, devices, sum FROM target_page
            WHERE number = ? AND page >= ? ORDER BY page LIMIT ?
            """,
            number,
            page,
            limit
        ) { try TargetPage($0) }
    }

    /// The page that holds `device`, if any does.
    func targetPage(_ number: Int64, holding device: DeviceID) throws -> TargetPage? {
        try row(
            """
            SELECT number, page, first, devices, sum FROM target_page
            WHERE number = ? AND first <= ? ORDER BY page DESC LIMIT 1
            """,
            number,
            device.rawValue
        ) { try TargetPage($0) }
    }

    /// Whether a device is among the named ones: by its `target` row, which stands while the activity
    /// is live, else by the page that is kept for good.
    func isTarget(_ device: DeviceRecord, of number: Int64) throws -> Bool {
        let isLiveTarget = try row(
            "SELECT device_idx, number, sum FROM target WHERE device_idx = ? AND number = ?",
            device.idx,
            number
        ) {
            try $0.verify("target", sum: 2)
            return true
        }
        if isLiveTarget ?? false { return true }
        return try targetPage(number, holding: device.row.id)?.devices.contains(device.idx) ?? false
    }

    /// Takes a closed activity's devices out of open work.
    func forgetTargets(_ number: Int64) throws {
        var page = 0
        while let next = try targetPages(number, from: page, limit: 1).first {
            try withStatement("DELETE FROM target WHERE device_idx = ? AND number = ?") {
                statement in
                for device in next.devices {
                    knownDevice(at: device)?.targets = nil
                    try statement.bind(device, number)
                    try statement.step()
                    statement.reset()
                }
            }
            page = next.page + 1
        }
    }
}
#endif
