#if Server && SQLite
public import ServiceLifecycle
public struct WorkerNode: Service {
    public static func open(_ configuration: WorkerConfiguration) async throws -> WorkerNode { WorkerNode() }
    public func run() async throws {}
}
#endif
