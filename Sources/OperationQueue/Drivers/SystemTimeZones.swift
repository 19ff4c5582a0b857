public import ClusterRole

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// The time zones of the machine: TZif files (RFC 9636) as the package `tzdata` installs them.
///
/// Only a manager needs them, and only when somebody asks for a maintenance window. Each call reads
/// its file anew, so that an update of the package is seen by the next operation.
public struct SystemTimeZones: TimeZoneSource {
    /// The directory of the files. It is trusted: links in it are followed.
    public let directory: String

    /// - Parameter directory: Where the files are, named by zone.
    public init(directory: String = "/usr/share/zoneinfo") { self.directory = directory }

    public func offsets(
        of zone: String,
        from: Timestamp,
        through: Timestamp
    ) throws(OperationQueueError) -> [ZoneOffset] {
        try MaintenanceWindow.checkZoneName(zone)
        let bytes = try read(zone)
        do {
            return try ZoneFile(parsing: bytes).offsets(
                from: from,
                through: through,
                limit: MaintenanceWindow.maximumOffsets
            )
        } catch {
            throw refusal(error, of: zone)
        }
    }

    private func refusal(_ reason: ZoneFile.Refusal, of zone: String) -> OperationQueueError {
        let message =
            switch reason {
            case .notTimeZoneData:
                "\(zone) is not a time zone on this machine. Give an IANA name, for instance "
                    + "Europe/Berlin or UTC."
            case .versionOne:
                "The data of the time zone \(zone) are of an old format that ends in 2037. Install "
                    + "the current package tzdata."
            case .leapSeconds:
                "The data of the time zone \(zone) count leap seconds. Name a zone without."
            case .damaged:
                "The data of the time zone \(zone) are damaged. Install the package tzdata again."
            case .tooManyChanges:
                "The time zone \(zone) changes more than \(MaintenanceWindow.maximumOffsets) times "
                    + "in the time asked for. Let the operation expire earlier."
            }
        return OperationQueueError(.invalidRequest, message)
    }

    private func read(_ zone: String) throws(OperationQueueError) -> [UInt8] {
        // Without O_NONBLOCK a pipe in the directory would hold the caller up.
        let file = open("\(directory)/\(zone)", O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            throw OperationQueueError(
                .invalidRequest,
                "The time zone \(zone) is not known on this machine (\(directory), errno \(errno)). "
                    + "Give an IANA name, for instance Europe/Berlin, or install the package tzdata."
            )
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw refusal(.notTimeZoneData, of: zone)
        }
        guard status.st_size <= maximumZoneFileSize else { throw refusal(.damaged, of: zone) }
        // One more than allowed, in case the file grows meanwhile.
        let buffer = [UInt8](unsafeUninitializedCapacity: maximumZoneFileSize + 1) { bytes, count in
            while count < bytes.count {
                let step = Self.readSome(file, bytes.baseAddress! + count, bytes.count - count)
                if step < 0 && errno == EINTR { continue }
                if step <= 0 { break }
                count += step
            }
        }
        guard buffer.count <= maximumZoneFileSize else { throw refusal(.damaged, of: zone) }
        return buffer
    }

    private static func readSome(_ file: Int32, _ target: UnsafeMutablePointer<UInt8>, _ room: Int)
        -> Int
    {
        #if canImport(Glibc)
        Glibc.read(file, target, room)
        #elseif canImport(Musl)
        Musl.read(file, target, room)
        #else
        Darwin.read(file, target, room)
        #endif
    }
}
