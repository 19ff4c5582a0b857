import ClusterMembership
import ClusterRole
import ClusterTestKit
import Synchronization
import XCTest

/// The suites find drivers that do what they must not.
final class BrokenMessageTests: XCTestCase {
    func test_everyBrokenMessageLog_isFound() async throws {
        for fault in BrokenMessageLog.Fault.allCases {
            do {
                _ = try await MessageLogConformance {
                    let cluster = InMemoryCluster()
                    var store = cluster.storeUnderTest
                    store.messages = BrokenMessageLog(fault, cluster)
                    return store
                }.run()
                XCTFail("\(fault) was not found")
            } catch let failure as ConformanceFailure {
                XCTAssertEqual(failure.suite, "MessageLog")
            }
        }
    }

    func test_everyBrokenSharedState_isFound() async throws {
        for fault in BrokenSharedState.Fault.allCases {
            do {
                _ = try await SharedStateConformance {
                    let cluster = InMemoryCluster()
                    var store = cluster.storeUnderTest
                    store.sharedState = BrokenSharedState(fault, cluster)
                    return store
                }.run()
                XCTFail("\(fault) was not found")
            } catch let failure as ConformanceFailure {
                XCTAssertEqual(failure.suite, "SharedStateStorage")
            }
        }
    }
}

/// A log with one defect.
private final class BrokenMessageLog: MessageLog {
    enum Fault: CaseIterable {
        case forgetsTheEpoch, storesTwice, losesRecipients, overwritesAnswers, keepsRemoved
        case keepsStrayAnswers, losesReplies, ignoresTheLimit
    }

    private let base: InMemoryMessageLog
    private let ledger: InMemoryLedger
    private let fault: Fault
    private let newest = Mutex<[MessageID: [NodeID: MessageAcknowledgement]]>([:])

    init(_ fault: Fault, _ cluster: InMemoryCluster) {
        self.fault = fault
        base = cluster.messages
        ledger = cluster.ledger
    }

    private func epoch(_ epoch: Epoch) -> Epoch {
        fault == .forgetsTheEpoch ? ledger.epoch : epoch
    }

    func append(
        _ message: ClusterMessage,
        recipients: [NodeID]?,
        epoch: Epoch
    ) async throws -> StoredMessage {
        var message = message
        if fault == .storesTwice {
            let known = try await base.messages(after: 0, limit: .max)
            if known.contains(where: { $0.message.id == message.id }) {
                message.id = MessageID(bits: message.id.bits + 1_000)
            }
        }
        return try await base.append(
            message,
            recipients: fault == .losesRecipients ? nil : recipients,
            epoch: self.epoch(epoch)
        )
    }

    func messages(after number: Int64, limit: Int) async throws -> [StoredMessage] {
        try await base.messages(after: number, limit: fault == .ignoresTheLimit ? .max : limit)
    }

    func acknowledge(_ answers: [MessageAcknowledgement]) async throws {
        newest.withLock { newest in
            for answer in answers { newest[answer.message, default: [:]][answer.node] = answer }
        }
        try await base.acknowledge(
            answers.map { answer in
                var answer = answer
                if fault == .losesReplies { answer.reply = [] }
                return answer
            }
        )
    }

    func acknowledgements(of id: MessageID) async throws -> [MessageAcknowledgement] {
        guard fault == .overwritesAnswers || fault == .keepsStrayAnswers else {
            return try await base.acknowledgements(of: id)
        }
        let known = try await base.messages(after: 0, limit: .max)
        guard fault == .keepsStrayAnswers || known.contains(where: { $0.message.id == id }) else {
            return []
        }
        return newest.withLock { ($0[id] ?? [:]).values.sorted { $0.node < $1.node } }
    }

    func remove(_ ids: [MessageID], epoch: Epoch) async throws {
        if fault == .keepsRemoved { return }
        try await base.remove(ids, epoch: self.epoch(epoch))
    }
}

/// A storage with one defect.
private struct BrokenSharedState: SharedStateStorage {
    enum Fault: CaseIterable {
        case forgetsTheEpoch, forgetsExpectations, forgetsLimits, alwaysSnapshots, losesRemovals
        case ignoresHistory
    }

    private let base: InMemorySharedStateStorage
    private let ledger: InMemoryLedger
    private let fault: Fault

    init(_ fault: Fault, _ cluster: InMemoryCluster) {
        self.fault = fault
        base = cluster.sharedState
        ledger = cluster.ledger
    }

    func state(after revision: Revision?) async throws -> SharedStateDelta? {
        var revision = revision
        if fault == .ignoresHistory {
            revision = revision.map {
                Revision(history: ledger.revision.history, number: $0.number)
            }
        }
        if fault == .alwaysSnapshots, try await base.state(after: revision) != nil {
            revision = nil
        }
        var delta = try await base.state(after: revision)
        if fault == .losesRemovals { delta?.entries.removeAll { $0.value == nil } }
        return delta
    }

    func change(
        _ change: SharedStateChange,
        limits: SharedStateLimits,
        epoch: Epoch
    ) async throws -> SharedStateEntry? {
        var change = change
        if fault == .forgetsExpectations { change.expected = .anything }
        return try await base.change(
            change,
            limits: fault == .forgetsLimits ? SharedStateLimits() : limits,
            epoch: fault == .forgetsTheEpoch ? ledger.epoch : epoch
        )
    }
}
