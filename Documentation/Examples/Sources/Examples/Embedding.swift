// begin: embedding
import OperationQueue
import ReeveManager

/// Publishes the shop's pages, tells its tills, and serves as a manager until it is shut down.
func runShop(_ configuration: ManagerConfiguration, pages: String) async throws {
    let manager = try await ManagerNode.open(configuration)
    let published = try await manager.publisher.publish(pages, to: "shop/pages")
    let reload = EnqueueRequest("reload", to: .group("tills"))
    let asked = try await manager.operations.enqueue(reload)
    print("\(published.fileCount) files are out, \(asked.addressed) tills are asked to reload.")
    try await manager.run()
}
// end: embedding
