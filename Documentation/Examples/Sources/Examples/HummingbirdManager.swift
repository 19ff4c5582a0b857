import ArtifactStore
import ClusterRole
import HTTPHandling
import Hummingbird
import HummingbirdHosting
import OperationQueue
import ReeveManager

// begin: hummingbird-manager
/// The shop's application becomes a manager: the admin API stands behind the shop's own login.
func shop(_ manager: ManagerNode, users: [String: String]) -> some ApplicationProtocol {
    let router = Router(context: ShopContext.self)
    router.mount(manager.link, at: "/link/v1")
    router.add(middleware: ShopLogin(users: users))
    router.get("orders") { _, context in "The orders of \(context.user)." }
    router.mount(manager.adminAPI, at: "/fleet/admin/v1") { _, context in
        Identity(name: context.user, permissions: Permission.everything)
    }
    return Application(router: router, services: [manager.background])
}

/// Puts new pages on every worker, and tells the tills.
func release(_ pages: String, with manager: ManagerNode) async throws -> ActivityID {
    let options = PublishOptions(kind: .webApplication)
    _ = try await manager.publisher.publish(pages, to: "shop/pages", options: options)
    let reload = EnqueueRequest("reload", to: .group("tills"))
    return try await manager.operations.enqueue(reload).activity
}
// end: hummingbird-manager
