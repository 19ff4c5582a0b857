#if Server && SQLite && Push
import Foundation
import HTTPHandling

/// The load balancers of a pattern: what they pass on, and that they pass on nothing else.
extension DemoCluster {
    /// Where devices and users come in; `nil` without a pattern.
    var frontAddress: String? {
        topology.pattern.map { _ in "http://127.0.0.1:\(frontPort)" }
    }

    /// Where a combined node serves devices.
    var gatewayAddress: String { "http://127.0.0.1:\(gatewayPort)" }

    /// What devices are told.
    var deviceAddresses: [String] { frontAddress.map { [$0] } ?? workerAddresses }

    /// Where operators reach the manager: inside, or through a load balancer.
    var adminAddress: String {
        guard let frontAddress, topology.access == .public else { return managerAddress }
        return topology.hasManagementFront
            ? "http://127.0.0.1:\(managementFrontPort)" : frontAddress
    }

    /// What the load balancer of devices and users passes on.
    private var frontRoutes: [FrontRoute] {
        let serving = workerAddresses + (topology.isCombined ? [gatewayAddress] : [])
        let devices = FrontRoute(prefix: "/device/v1", upstreams: serving)
        guard topology.access == .public, !topology.isCombined else { return [devices] }
        return [devices, FrontRoute(prefix: "/admin/v1", upstreams: [managerAddress])]
    }

    /// Starts the load balancers of the pattern; none without one.
    func startFronts() async throws {
        guard topology.pattern != nil else { return }
        try await startFront("front", port: frontPort, frontRoutes)
        if topology.hasManagementFront {
            let route = FrontRoute(prefix: "/admin/v1", upstreams: [managerAddress])
            try await startFront("management-front", port: managementFrontPort, [route])
        }
    }

    private func startFront(_ name: String, port: Int, _ routes: [FrontRoute]) async throws {
        try start(
            name,
            executable: Self.ownExecutable,
            ["demo-front", "--port", "\(port)"] + routes.flatMap { ["--route", $0.argument] }
        )
        // It answers as soon as it listens, if only that there is nothing.
        let client = JSONClient(base: "http://127.0.0.1:\(port)", token: nil)
        _ = try await poll("\(name) to listen", within: .seconds(30)) {
            await Self.status(of: "/", with: client)
        }
    }

    /// Holds what can be reached from outside against the pattern.
    func requireAccess() async throws {
        guard let frontAddress else { return }
        let isPublic = topology.access == .public
        var expected: [(place: String, path: String, status: Int)] = [
            // Nobody's token: the device API is there, and asks who calls.
            (frontAddress, "/device/v1/push-registration", 401),
            (frontAddress, "/link/v1/hello", 404), (frontAddress, "/", 404),
            (frontAddress, "/admin/v1/status", isPublic && !topology.isCombined ? 200 : 404),
        ]
        if topology.isCombined {
            expected += [
                (gatewayAddress, "/admin/v1/status", 404), (gatewayAddress, "/link/v1/hello", 404),
            ]
        }
        if topology.hasManagementFront {
            expected += [
                (adminAddress, "/admin/v1/status", 200), (adminAddress, "/link/v1/hello", 404),
                (adminAddress, "/device/v1/push-registration", 404),
            ]
        }
        for (place, path, status) in expected {
            let client = JSONClient(base: place, token: adminToken)
            let found = await Self.status(of: path, with: client)
            guard found == status else {
                throw DemoFailure(
                    "\(place)\(path) answered \(found.map { "\($0)" } ?? "nothing"), not \(status)"
                )
            }
        }
    }

    /// The status a path is answered with; `nil` if nobody answers. Where a path takes another method than
    /// `GET`, that is tried.
    private static func status(of path: String, with client: JSONClient) async -> Int? {
        do {
            switch path {
            case "/link/v1/hello": _ = try await client.post(path, .object([:]))
            case "/device/v1/push-registration": try await client.delete(path)
            default: _ = try await client.get(path)
            }
            return 200
        } catch let refusal as JSONClient.Refusal {
            return refusal.status
        } catch {
            return nil
        }
    }
}
#endif
