#if Server && SQLite && Push
import AsyncHTTPClient
import ClusterRole
import Foundation
import HTTPHandling
import Synchronization

/// The processes of the demonstration and how to reach them.
final class DemoCluster: Sendable {
    let directory: URL
    let managerPort: Int
    let workerPorts: [Int]
    let fleetPort: Int
    let adminToken: String
    let enrolmentSecret: String
    static let channel = "web"
    static let group = "fleet"

    private let workerTokens: [String]
    private let progress: DemoProgress
    private let running = Mutex<[String: ChildProcess]>([:])
    /// Every process ever started, for the summary.
    private let history = Mutex<[ChildProcess]>([])

    init(directory: URL?, progress: DemoProgress) throws {
        let place =
            directory
            ?? FileManager.default.temporaryDirectory.appendingPathComponent(
                "reeve-demo-\(IncarnationID(from: SystemRandomSource()).description.prefix(12))"
            )
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        // Temporary directories may be links; the nodes compare real paths.
        self.directory = place.resolvingSymlinksInPath()
        let ports = try Self.freePorts(4)
        managerPort = ports[0]
        workerPorts = [ports[1], ports[2]]
        fleetPort = ports[3]
        adminToken = Self.secret()
        enrolmentSecret = Self.secret()
        workerTokens = [Self.secret(), Self.secret()]
        self.progress = progress
    }

    var managerAddress: String { "http://127.0.0.1:\(managerPort)" }
    var workerAddresses: [String] { workerPorts.map { "http://127.0.0.1:\($0)" } }

    var admin: JSONClient {
        JSONClient(base: managerAddress, token: adminToken, client: .shared, timeout: .seconds(120))
    }

    /// One worker's own status page.
    func worker(_ index: Int) -> JSONClient {
        JSONClient(base: workerAddresses[index], token: workerTokens[index], client: .shared)
    }

    static func workerName(_ index: Int) -> String { "worker-\(index + 1)" }

    // MARK: Starting

    func startManager(frequency: Double, publishRoots: [String]) async throws {
        let file = directory.appendingPathComponent("manager.json")
        try write(
            .object([
                "node": .object([
                    "id": "manager-1", "directory": .string(path("manager")),
                ]),
                "listen": .object(["port": .integer(Int64(managerPort))]),
                "admin": .object(["token": .string(adminToken)]),
                "link": .object([
                    "tokens": .array(
                        workerTokens.enumerated().map {
                            .string("\(Self.workerName($0.offset))=\($0.element)")
                        }
                    )
                ]),
                "enrolment": .object(["secret": .string(enrolmentSecret)]),
                "publish": .object(["roots": .array(publishRoots.map { .string($0) })]),
                "backup": .object(["roots": .array([.string(directory.path)])]),
                "polling": .object(["frequency": .number(frequency)]),
            ]),
            to: file
        )
        try start("manager-1", executable: Self.ownExecutable, ["manager", "--config", file.path])
        try await waitUntilReady(managerAddress, "manager-1")
    }

    func startWorker(_ index: Int, frequency: Double) async throws {
        let name = Self.workerName(index)
        let file = directory.appendingPathComponent("\(name).json")
        let key = try String(
            contentsOf: directory.appendingPathComponent("manager/signing-key.pub"),
            encoding: .utf8
        ).trimmingCharacters(in: .whitespacesAndNewlines)
        try write(
            .object([
                "node": .object(["id": .string(name), "directory": .string(path(name))]),
                "listen": .object(["port": .integer(Int64(workerPorts[index]))]),
                "link": .object([
                    "managers": .array([.string(managerAddress)]),
                    "token": .string(workerTokens[index]),
                ]),
                "channels": .array([.string(Self.channel)]),
                "trust": .object(["keys": .array([.string(key)])]),
                "polling": .object(["frequency": .number(frequency)]),
            ]),
            to: file
        )
        let (executable, arguments) = Self.workerExecutable
        try start(name, executable: executable, arguments + ["--config", file.path])
        try await waitUntilReady(workerAddresses[index], name)
    }

    func startFleet(devices: Int, frequency: Double) async throws {
        var arguments = [
            "demo-fleet", "--devices", "\(devices)", "--group", Self.group, "--secret",
            enrolmentSecret, "--port", "\(fleetPort)", "--frequency", "\(frequency)",
        ]
        for address in workerAddresses { arguments += ["--worker", address] }
        try start("devices", executable: Self.ownExecutable, arguments)
        _ = try await poll("the device process to listen", within: .seconds(30)) {
            try? await self.figures()
        }
    }

    /// How the devices stand.
    func figures() async throws -> FleetCounters {
        let client = JSONClient(
            base: "http://127.0.0.1:\(fleetPort)",
            token: nil,
            client: .shared
        )
        let answer = try await client.get("/figures")
        return try JSONDecoder().decode(FleetCounters.self, from: Data(answer.encoded()))
    }

    private func start(_ name: String, executable: String, _ arguments: [String]) throws {
        let child = try ChildProcess(
            name: name,
            executable: executable,
            arguments: arguments + ["--exit-with-parent"],
            log: directory.appendingPathComponent("\(name).log")
        )
        running.withLock { $0[name] = child }
        history.withLock { $0.append(child) }
    }

    // MARK: Ending

    func process(_ name: String) throws -> ChildProcess {
        guard let child = running.withLock({ $0[name] }) else {
            throw DemoFailure("\(name) is not running")
        }
        return child
    }

    /// Kills a node without warning and waits until it is gone.
    func kill(_ name: String) async throws {
        let child = try process(name)
        _ = child.peakMemory
        child.signal(SIGKILL)
        _ = try await child.waitForEnd(within: .seconds(10))
        running.withLock { _ = $0.removeValue(forKey: name) }
    }

    /// Asks every process to end, devices first; those that do not are killed.
    func stop() async {
        let order = ["devices", "worker-1", "worker-2", "manager-1"]
        for name in order {
            guard let child = running.withLock({ $0.removeValue(forKey: name) }) else { continue }
            child.signal(SIGTERM)
            if (try? await child.waitForEnd(within: .seconds(20))) == nil {
                child.signal(SIGKILL)
                _ = try? await child.waitForEnd(within: .seconds(5))
            }
        }
    }

    /// Ends a node with SIGTERM and holds it to exit status 0.
    func stopGracefully(_ name: String) async throws {
        let child = try process(name)
        child.signal(SIGTERM)
        let ending = try await child.waitForEnd(within: .seconds(30))
        running.withLock { _ = $0.removeValue(forKey: name) }
        guard ending == .exited(0) else {
            throw DemoFailure("\(name) ended with \(ending) on SIGTERM\n\(child.lastLines(5))")
        }
    }

    /// Tells how to reach what is left running.
    func printAddresses() {
        progress.line("\nEverything is left running; end it with Ctrl-C.")
        progress.line("   admin API  \(managerAddress)/admin/v1  token \(adminToken)")
        for (index, address) in workerAddresses.enumerated() {
            progress.line("   \(Self.workerName(index))   \(address)/device/v1")
        }
        progress.line("   data       \(directory.path)")
    }

    /// Name, process id and peak memory of every process started, in order.
    var processes: [(name: String, processID: Int32, peakMemory: Int)] {
        history.withLock { $0 }.map { ($0.name, $0.processID, $0.peakMemory) }
    }

    func removeDirectory(ifTemporary isTemporary: Bool) {
        if isTemporary { try? FileManager.default.removeItem(at: directory) }
    }

    // MARK: Waiting

    private func waitUntilReady(_ address: String, _ name: String) async throws {
        let client = JSONClient(base: address, token: nil, client: .shared)
        let child = try process(name)
        _ = try await poll("\(name) to be ready", within: .seconds(60)) {
            if let ending = child.ending {
                throw DemoFailure("\(name) ended at start (\(ending)):\n\(child.lastLines(5))")
            }
            return try? await client.get("/readyz")
        }
    }

    /// Asks again and again until there is an answer.
    func poll<Answer: Sendable>(
        _ what: String,
        within limit: Duration,
        every interval: Duration = .milliseconds(100),
        _ body: () async throws -> Answer?
    ) async throws -> Answer {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            // Memory of processes is sampled here, so that a killed one's peak is known.
            history.withLock { $0 }.forEach { _ = $0.ending }
            if let answer = try await body() { return answer }
            try await Task.sleep(for: interval)
        }
        throw DemoFailure("waited \(limit) for \(what)")
    }

    // MARK: Details

    private func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    private func write(_ value: JSONValue, to file: URL) throws {
        try Data(value.encoded()).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
    }

    private static func secret() -> String {
        SystemRandomSource().bytes(32).map { String(format: "%02x", $0) }.joined()
    }

    /// This executable, or, in a test, the command built beside the test bundle.
    static var ownExecutable: String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            ?? CommandLine.arguments[0]
        guard own.hasSuffix(".xctest") else { return own }
        return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("reeve")
            .path
    }

    /// The worker-only binary beside this one, or this one's own worker command.
    static var workerExecutable: (String, [String]) {
        let sibling = URL(fileURLWithPath: ownExecutable).deletingLastPathComponent()
            .appendingPathComponent("reeve-worker").path
        return FileManager.default.isExecutableFile(atPath: sibling)
            ? (sibling, []) : (ownExecutable, ["worker"])
    }

    /// Ports that are free now: bound to, noted, and given back.
    static func freePorts(_ count: Int) throws -> [Int] {
        var sockets: [Int32] = []
        defer { sockets.forEach { close($0) } }
        return try (0..<count).map { _ in
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            sockets.append(descriptor)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let result = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
                }
            }
            guard result else { throw DemoFailure("no free port on loopback") }
            return Int(UInt16(bigEndian: address.sin_port))
        }
    }
}
#endif
