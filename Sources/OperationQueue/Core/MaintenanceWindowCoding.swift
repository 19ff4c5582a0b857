package import ClusterRole

// The binary form of a maintenance window: `days, start, duration, zone, offsets`. It stands inside
// the formats of operations, whose version byte covers it.

extension ByteWriter {
    package mutating func write(_ window: MaintenanceWindow) {
        write(window.dayMask)
        write(Int64(window.start))
        write(window.duration)
        write(window.zone)
        write(array: window.offsets) {
            $0.write($1.from)
            $0.write(Int64($1.seconds))
        }
    }
}

extension ByteReader {
    /// Reads what `write(_:)` wrote.
    ///
    /// - Throws: ``ClusterRoleError`` with code `malformed` for damaged data and for values that no
    ///   window has.
    package mutating func readMaintenanceWindow() throws(ClusterRoleError) -> MaintenanceWindow {
        let dayMask = try readByte()
        let start = try readInt32()
        let duration = Duration.milliseconds(try readInt64())
        let zone = try readString()
        let offsets = try readArray(elementSize: 2) { reader throws(ClusterRoleError) in
            ZoneOffset(from: try reader.readTimestamp(), seconds: try reader.readInt32())
        }
        do {
            return try MaintenanceWindow(
                dayMask: dayMask,
                start: start,
                duration: duration,
                zone: zone,
                offsets: offsets
            )
        } catch {
            throw refused("maintenance window")
        }
    }
}
