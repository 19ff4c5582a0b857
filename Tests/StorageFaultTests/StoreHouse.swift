#if SQLite
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import SQLiteEngine
import SQLiteStore
import XCTest

/// An embedded store with the façades over it.
struct StoreHouse {
    static let node = NodeID(rawValue: "manager-1")
    static let groups: [GroupID] = ["red", "blue"]
    let store: EmbeddedStore
    let time: ManualTimeSource
    let random: SeededRandomSource
    let epoch: Epoch
    let administration: DeviceAdministration
    let enqueuer: OperationEnqueuer
    let exchange: DeviceExchange
    let browser: ActivityBrowser

    /// - Parameter adjust: changes what the file is opened with.
    static func open(
        _ path: String,
        seed: UInt64 = 1,
        time: ManualTimeSource = ManualTimeSource(),
        adjust: (@Sendable (inout DatabaseFileOptions) -> Void)? = nil
    ) async throws -> StoreHouse {
        var configuration = EmbeddedStoreConfiguration()
        configuration.readers = 1
        configuration.writerCacheKiB = 1_024
        configuration.readerCacheKiB = 1_024
        configuration.adjustFile = adjust
        let random = SeededRandomSource(seed: seed)
        let store = try await EmbeddedStore.open(
            path: path,
            node: node,
            secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize)),
            random: random,
            configuration: configuration
        )
        let epoch = try await store.acquire(holder: node, duration: .seconds(30)).epoch
        return StoreHouse(store: store, time: time, random: random, epoch: epoch)
    }

    private init(
        store: EmbeddedStore,
        time: ManualTimeSource,
        random: SeededRandomSource,
        epoch: Epoch
    ) {
        let capability = WriteCapability(epoch: epoch)
        self.store = store
        self.time = time
        self.random = random
        self.epoch = epoch
        administration = DeviceAdministration(
            storage: store,
            capability: capability,
            clock: time,
            random: random
        )
        enqueuer = OperationEnqueuer(
            storage: store,
            capability: capability,
            clock: time,
            random: random,
            logger: quiet
        )
        exchange = DeviceExchange(
            storage: store,
            capability: capability,
            settings: DeviceExchange.Settings(clock: time, random: random)
        )
        browser = ActivityBrowser(reader: store)
    }

    func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    func enqueue(_ target: OperationTarget, key: String? = nil) async throws -> EnqueueReceipt {
        try await enqueuer.enqueue(
            EnqueueRequest("lock", to: target, payload: [1, 2, 3], idempotencyKey: key)
        )
    }
}

extension StorageError {
    /// Runs `body` and returns the storage error it throws, whatever wraps it.
    static func thrown(
        file: StaticString = #filePath,
        line: UInt = #line,
        by body: () async throws -> Void
    ) async -> SQLiteStorageError? {
        do {
            try await body()
            XCTFail("nothing was thrown", file: file, line: line)
            return nil
        } catch {
            let found = within(error)
            if found == nil {
                XCTFail("another error was thrown: \(error)", file: file, line: line)
            }
            return found
        }
    }

    /// The storage error in an error or its causes.
    static func within(_ error: any Error) -> SQLiteStorageError? {
        if let error = error as? SQLiteStorageError { return error }
        return (error as? any CodedError)?.cause.flatMap { within($0) }
    }
}

/// Finds storage errors.
enum StorageError {}
#endif
