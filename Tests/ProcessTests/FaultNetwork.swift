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

/// The clock that a process is shown: libfaketime reads the offset from a file, which may change while the
/// process runs. Monotonic time is not touched.
struct FaultClock: Sendable {
    static let library = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/faketime/libfaketimeMT.so.1",
    ].first { FileManager.default.isReadableFile(atPath: $0) }

    let file: URL

    init(file: URL) throws {
        self.file = file
        try jump(0)
    }

    /// Sets the clock off by so many seconds. It is noticed with the next look at the clock.
    func jump(_ seconds: Int) throws {
        try Data("\(seconds < 0 ? "" : "+")\(seconds)\n".utf8).write(to: file, options: .atomic)
    }

    /// What a process is started with.
    var environment: [String] {
        [
            "LD_PRELOAD=\(Self.library ?? "")", "FAKETIME_TIMESTAMP_FILE=\(file.path)",
            "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
            // Without it the library changes its environment at start, which moves what Swift reads the
            // arguments from. Nothing is shared by this name.
            "FAKETIME_SHARED=/none /none",
        ]
    }
}
#endif
