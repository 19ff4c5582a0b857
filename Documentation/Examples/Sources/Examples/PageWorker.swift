import ArtifactStore
import Foundation
import Hummingbird
import HummingbirdHosting
import ReeveWorker

// begin: worker
/// Takes the shop's pages. A release without a first page is refused: the old one stays.
struct PageDeployer: Deployer {
    let kind = ArtifactKind.webApplication

    func checkHealth(of new: ActiveRelease) async throws {
        _ = try String(contentsOfFile: new.path(of: "index.html"), encoding: .utf8)
    }
}

/// Serves devices, and to everybody the pages of the active release.
func pageServer(_ configuration: WorkerConfiguration) async throws -> some ApplicationProtocol {
    var configuration = configuration
    configuration.channels["shop/pages"] = PageDeployer()
    let worker = try await WorkerNode.open(configuration)
    let router = Router()
    router.mount(worker.deviceAPI, at: "/device/v1")
    router.get("/") { _, _ in
        try await worker.withActiveRelease(of: "shop/pages") { pages in
            try String(contentsOfFile: pages.path(of: "index.html"), encoding: .utf8)
        }
    }
    return Application(router: router, services: [worker.background])
}
// end: worker
