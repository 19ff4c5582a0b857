#if Server && SQLite && Push && os(Linux)
import Foundation
import Synchronization

@testable import reeve

/// Network namespaces of their own for some nodes, joined by a bridge on which this process listens too.
///
/// A packet is lost by sending it to a hardware address that nobody has: silently, in one direction, and
/// with nothing but iproute2.
final class FaultNetwork: Sendable {
    static let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    /// Why there can be no such network here; `nil` if there can.
    static var obstacle: String? {
        guard geteuid() == 0 else { return "network namespaces need root" }
        guard ip != nil else { return "network namespaces need ip (iproute2)" }
        return nil
    }

    private static let prefix = "rvf"
    private static let nobody = "06:52:ff:ff:ff:ff"

    private let stem: String
    private let subnet: String
    private let count: Int

    /// Makes `count` namespaces; what an earlier run that was killed has left behind goes first.
    init(_ count: Int) throws {
        let process = Int(getpid())
        stem = "\(Self.prefix)\(process)"
        subnet = "10.\(100 + process % 100).\(process / 100 % 250)"
        self.count = count
        try Self.sweep()
        do {
            try make()
        } catch {
            remove()
            throw error
        }
    }

    private func make() throws {
        try Self.run("link", "add", bridge, "type", "bridge")
        try Self.run("addr", "add", "\(subnet).1/24", "dev", bridge)
        try Self.run("link", "set", bridge, "up")
        for node in 0..<count {
            let name = namespace(node)
            try Self.run("netns", "add", name)
            try Self.run(
                ["link", "add", "\(stem)h\(node)", "type", "veth", "peer", "name", "eth0"]
                    + ["address", hardware(node), "netns", name]
            )
            try Self.run("link", "set", "\(stem)h\(node)", "master", bridge, "up")
            try Self.run("-n", name, "addr", "add", "\(address(node))/24", "dev", "eth0")
            try Self.run("-n", name, "link", "set", "eth0", "up")
            try Self.run("-n", name, "link", "set", "lo", "up")
        }
        for from in 0..<count {
            for to in 0..<count where from != to { try heal(from: from, to: to) }
        }
    }

    func namespace(_ node: Int) -> String { "\(stem)n\(node)" }
    func address(_ node: Int) -> String { "\(subnet).\(10 + node)" }
    private var bridge: String { "\(stem)b" }
    private func hardware(_ node: Int) -> String { "06:52:00:00:00:\(10 + node)" }

    /// From now on what `from` sends to `to` is lost; the other direction is not touched.
    func cut(from: Int, to: Int) throws { try direct(from, to, Self.nobody) }

    func heal(from: Int, to: Int) throws { try direct(from, to, hardware(to)) }

    private func direct(_ from: Int, _ to: Int, _ hardware: String) throws {
        try Self.run(
            ["-n", namespace(from), "neigh", "replace", address(to), "lladdr", hardware]
                + ["dev", "eth0", "nud", "permanent"]
        )
    }

    /// Removes everything this network has made. Processes in the namespaces are their starter's.
    func remove() {
        for node in 0..<count { try? Self.run("netns", "del", namespace(node)) }
        for node in 0..<count { try? Self.run("link", "del", "\(stem)h\(node)") }
        try? Self.run("link", "del", bridge)
    }

    /// Removes what runs left behind whose process is gone.
    private static func sweep() throws {
        let namespaces = (try? FileManager.default.contentsOfDirectory(atPath: "/run/netns")) ?? []
        let devices = try FileManager.default.contentsOfDirectory(atPath: "/sys/class/net")
        for (name, verb) in namespaces.map({ ($0, "netns") }) + devices.map({ ($0, "link") })
        where name.hasPrefix(prefix) {
            let digits = name.dropFirst(prefix.count).prefix { $0.isNumber }
            guard let owner = pid_t(digits), kill(owner, 0) != 0, errno == ESRCH else { continue }
            try? run(verb, "del", name)
        }
    }

    private static func run(_ arguments: String...) throws { try run(arguments) }

    private static func run(_ arguments: [String]) throws {
        guard let ip else { throw DemoFailure("there is no ip command") }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ip)
        process.arguments = arguments
        let errors = Pipe()
        process.standardError = errors
        try process.run()
        let text = try errors.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw DemoFailure(
                "ip \(arguments.joined(separator: " ")): \(String(decoding: text, as: UTF8.self))"
            )
        }
    }
}

/// The wall clock that processes are shown, off by what a file says, which may change while they run.
///
/// A small library is loaded before the C library and adds the offset to `CLOCK_REALTIME`. Monotonic time and
/// timers are not touched. (libfaketime is no help: it moves absolute timers by the offset, also those of
/// the monotonic clock, so that a process sleeps for an hour where it meant a second.)
struct FaultClock: Sendable {
    private static let source = """
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>

        static volatile long *offset;

        __attribute__((constructor)) static void begin(void) {
            const char *path = getenv("REEVE_FAULT_CLOCK");
            int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
            if (file < 0) return;
            void *page = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
            if (page != MAP_FAILED) offset = page;
            close(file);
        }

        int clock_gettime(clockid_t clock, struct timespec *now) {
            int result = (int)syscall(SYS_clock_gettime, clock, now);
            if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
                now->tv_sec += *offset;
            return result;
        }

        int gettimeofday(struct timeval *restrict now, void *restrict zone) {
            struct timespec exact;
            (void)zone;
            if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
            now->tv_sec = exact.tv_sec;
            now->tv_usec = exact.tv_nsec / 1000;
            return 0;
        }

        time_t time(time_t *result) {
            struct timespec exact;
            if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
            if (result) *result = exact.tv_sec;
            return exact.tv_sec;
        }
        """

    let file: URL
    private let library: URL

    /// Builds the library in a directory.
    ///
    /// - Returns: where it is; `nil` where there is no clang.
    static func library(in directory: URL) throws -> URL? {
        let code = directory.appendingPathComponent("clock.c")
        let library = directory.appendingPathComponent("clock.so")
        try source.write(to: code, atomically: true, encoding: .utf8)
        let compiler = Process()
        compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        compiler.arguments = ["clang", "-shared", "-fPIC", "-O1", "-o", library.path, code.path]
        try compiler.run()
        compiler.waitUntilExit()
        switch compiler.terminationStatus {
        case 0: return library
        case 127: return nil
        default: throw DemoFailure("clang cannot build \(code.path)")
        }
    }

    init(library: URL, file: URL) throws {
        self.library = library
        self.file = file
        try Data(count: MemoryLayout<Int>.size).write(to: file)
    }

    /// Sets the clock off by so many seconds, at once.
    func jump(_ seconds: Int) throws {
        // In place: the processes have the file mapped.
        let handle = try FileHandle(forUpdating: file)
        defer { try? handle.close() }
        try handle.write(contentsOf: withUnsafeBytes(of: seconds) { Data($0) })
    }

    /// What a process is started with.
    var environment: [String] {
        ["LD_PRELOAD=\(library.path)", "REEVE_FAULT_CLOCK=\(file.path)"]
    }
}
#endif
