#if Server && SQLite
import ClusterRole
import XCTest

@testable import ClusterTransport

final class SessionMemoryTests: XCTestCase {
    private func nonce(_ number: Int) -> LinkNonce { LinkNonce(bits: UInt128(number)) }
    private func revision(_ number: Int64) -> Revision {
        Revision(history: HistoryID(bits: 7), number: number)
    }

    func test_hello_saidBefore_isToldFromANewOne() {
        var memory = SessionMemory(maximumNodes: 10)
        XCTAssertEqual(memory.onHello("a", nonce: nonce(1), LinkSession()), .welcome)
        XCTAssertEqual(memory.onHello("a", nonce: nonce(1), LinkSession()), .replayed)
        XCTAssertEqual(memory.onHello("b", nonce: nonce(1), LinkSession()), .welcome)
        XCTAssertEqual(memory.onHello("a", nonce: nonce(2), LinkSession()), .welcome)
        XCTAssertEqual(memory.onHello("a", nonce: nonce(1), LinkSession()), .replayed)
        // A worker of an earlier version has none.
        XCTAssertEqual(memory.onHello("a", nonce: nil, LinkSession()), .welcome)
        XCTAssertEqual(memory.onHello("a", nonce: nil, LinkSession()), .welcome)
    }

    func test_memory_isBounded_andForgetsTheLongestSilent() {
        var memory = SessionMemory(maximumNodes: 3)
        for number in 0..<1_000 {
            _ = memory.onHello("a", nonce: nonce(number), LinkSession())
        }
        XCTAssertEqual(memory.sessions["a"]?.greetings.count, SessionMemory.keptGreetings)
        for name in ["b", "c", "d"] {
            _ = memory.onHello(NodeID(rawValue: name), nonce: nonce(1), LinkSession())
        }
        XCTAssertEqual(Set(memory.sessions.keys), ["b", "c", "d"])
    }

    func test_page_acknowledgedByItsNonce_isNoted_andAnOldNonceSaysNothing() {
        var memory = SessionMemory(maximumNodes: 3)
        XCTAssertFalse(memory.onAnswer(nonce(1), refusal: nil, from: "a"), "nobody said hello")
        _ = memory.onHello("a", nonce: nonce(9), LinkSession())
        memory.onPage(nonce(1), at: revision(5), to: "a")
        memory.onPage(nonce(2), at: revision(6), to: "a")
        XCTAssertFalse(memory.onAnswer(nonce(1), refusal: nil, from: "a"), "an old one")
        XCTAssertNil(memory.sessions["a"]?.state.acknowledged)
        XCTAssertTrue(memory.onAnswer(nonce(2), refusal: nil, from: "a"))
        XCTAssertEqual(memory.sessions["a"]?.state.acknowledged, revision(6))
        XCTAssertFalse(memory.onAnswer(nonce(2), refusal: nil, from: "a"), "said before")
        memory.onPage(nonce(3), at: revision(7), to: "a")
        XCTAssertTrue(memory.onAnswer(nonce(3), refusal: "replica.full", from: "a"))
        XCTAssertEqual(memory.sessions["a"]?.state.acknowledged, revision(6))
        XCTAssertEqual(memory.sessions["a"]?.state.lastRefusal, "replica.full")
    }
}
#endif
