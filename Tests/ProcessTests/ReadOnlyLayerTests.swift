#if Server && SQLite && Push
import Foundation
import XCTest

/// The layers beneath the types: what a process cannot write although its code would.
final class ReadOnlyLayerTests: XCTestCase {
    /// The file system: a directory that is mounted read-only, in a mount namespace of the test's own.
    func test_manager_onAReadOnlyDirectory_doesNotStart_andChangesNothing() throws {
        try XCTSkipUnless(geteuid() == 0, "mounting needs root")
        let files = FileManager.default
        let directory = files.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        defer { try? files.removeItem(atPath: directory) }
        try files.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let reeve = try Self.product("reeve")
        let environment = "NODE_ID=m NODE_DIRECTORY='\(directory)' LISTEN_PORT=0"
        // The control: on a directory it may write, the same command goes on until it is stopped.
        let control = try Self.shell("\(environment) timeout -s TERM 15 '\(reeve)' manager")
        XCTAssertTrue(files.fileExists(atPath: directory + "/store.db"), control.output)
        let before = try Self.listing(directory)

        let refused = try Self.shell(
            """
            unshare -m sh -c "mount --bind '\(directory)' '\(directory)' && \
            mount -o remount,ro,bind '\(directory)' && \
            \(environment) timeout 30 '\(reeve)' manager"
            """
        )
        XCTAssertNotEqual(refused.status, 0, refused.output)
        XCTAssertNotEqual(refused.status, 124, "it ran on: \(refused.output)")
        XCTAssertEqual(try Self.listing(directory), before, refused.output)
    }

    /// The network: what listens on the private address is not there for who reaches the public one only.
    func test_manager_inANamespace_isReachedOnItsPublicAddressByTheUserAPIOnly() throws {
        try XCTSkipUnless(geteuid() == 0, "network namespaces need root")
        let files = FileManager.default
        let directory = files.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        defer { try? files.removeItem(atPath: directory) }
        try files.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let reeve = try Self.product("reeve")
        let tag = String(UUID().uuidString.prefix(6)).lowercased()
        let (inside, outside) = ("rm\(tag)", "ro\(tag)")
        let script = """
            set -e
            ip netns add \(inside); ip netns add \(outside)
            trap 'kill $pid 2>/dev/null; ip netns del \(inside); ip netns del \(outside)' EXIT
            ip link add v\(tag) netns \(inside) type veth peer name w\(tag) netns \(outside)
            ip -n \(inside) link set lo up
            ip -n \(inside) addr add 10.77.0.1/32 dev lo
            ip -n \(inside) addr add 10.78.0.1/24 dev v\(tag); ip -n \(inside) link set v\(tag) up
            ip -n \(outside) addr add 10.78.0.2/24 dev w\(tag); ip -n \(outside) link set w\(tag) up
            NODE_ID=m NODE_DIRECTORY='\(directory)' LISTEN_HOST=10.77.0.1 LISTEN_PORT=8180 \
            MANAGER_ACCESS=public USERS_HOST=10.78.0.1 USERS_PORT=8181 \
            ip netns exec \(inside) '\(reeve)' manager >'\(directory).log' 2>&1 &
            pid=$!
            ask() { ip netns exec "$1" curl -s -m 5 -o /dev/null -w '%{http_code} ' "$2" || true; }
            for try in $(seq 1 200); do
              [ "$(ask \(inside) http://10.77.0.1:8180/healthz)" = "200 " ] && \
              [ "$(ask \(outside) http://10.78.0.1:8181/healthz)" = "200 " ] && break; sleep 0.2
            done
            ask \(inside) http://10.77.0.1:8180/admin/v1/status
            ask \(outside) http://10.78.0.1:8181/user/v1/devices
            ask \(outside) http://10.78.0.1:8181/admin/v1/status
            ask \(outside) http://10.78.0.1:8180/admin/v1/status
            ask \(outside) http://10.77.0.1:8180/admin/v1/status
            """
        defer { try? files.removeItem(atPath: directory + ".log") }
        let answer = try Self.shell(script)
        // Unauthenticated where it is served, unknown where it is not, and nobody there at all.
        XCTAssertEqual(answer.output, "401 401 404 000 000", answer.output)
    }

    private static func listing(_ directory: String) throws -> [String] {
        let files = FileManager.default
        return try files.subpathsOfDirectory(atPath: directory).sorted().map { name in
            let attributes = try files.attributesOfItem(atPath: directory + "/" + name)
            let date = (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
            return "\(name) \(attributes[.size] ?? 0) \(date)"
        }
    }

    private static func product(_ name: String) throws -> String {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: own).deletingLastPathComponent().path + "/" + name
    }

    private static func shell(_ script: String) throws -> (output: String, status: Int32) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", script]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let text = String(decoding: data, as: UTF8.self)
        return (text.trimmingCharacters(in: .whitespacesAndNewlines), process.terminationStatus)
    }
}
#endif
