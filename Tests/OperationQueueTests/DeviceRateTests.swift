import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

final class DeviceRateTests: XCTestCase {
    private func exchange(_ house: House, perMinute: Int?, burst: Int) -> DeviceExchange {
        var settings = DeviceExchange.Settings(clock: house.clock, random: house.random)
        settings.limits.exchangesPerMinute = perMinute
        settings.limits.exchangeBurst = burst
        return DeviceExchange(reader: house.storage, inbox: house.inbox, settings: settings)
    }

    private func refusal(
        _ exchange: DeviceExchange,
        _ device: DeviceIdentity,
        _ report: ExchangeReport = ExchangeReport()
    ) async -> OperationQueueError? {
        do {
            _ = try await exchange.exchange(device: device, report: report)
            return nil
        } catch {
            return error
        }
    }

    func test_exchange_moreOftenThanAllowed_isToldWhenToComeAgain() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let other = try await house.enrol("other")
        let exchange = exchange(house, perMinute: 60, burst: 3)
        for _ in 0..<3 {
            let refused = await refusal(exchange, device)
            XCTAssertNil(refused)
        }
        let refused = await refusal(exchange, device)
        XCTAssertEqual(refused?.code, .tooManyExchanges)
        XCTAssertEqual(refused?.category, .overloaded)
        XCTAssertEqual(refused?.retryAfter, .seconds(1))
        let neighbour = await refusal(exchange, other)
        XCTAssertNil(neighbour, "each device has a rate of its own")
        house.clock.advance(by: .seconds(1))
        let afterwards = await refusal(exchange, device)
        XCTAssertNil(afterwards)
        let again = await refusal(exchange, device)
        XCTAssertEqual(again?.code, .tooManyExchanges)
    }

    func test_exchange_refusedByItsRate_touchesNothing() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let receipt = try await house.command("a", to: device)
        let exchange = exchange(house, perMinute: 1, burst: 1)
        let offer = try await exchange.exchange(device: device).operations[0]
        let refused = await refusal(exchange, device, ExchangeReport(redelivery: .now))
        XCTAssertEqual(refused?.code, .tooManyExchanges)
        // A device that polled too often can still report.
        let result = ExecutionResult(execution: offer.execution, outcome: .completed)
        let report = ExchangeReport(results: [result], limit: 0)
        let taken = await refusal(exchange, device, report)
        XCTAssertNil(taken)
        let counts = try await house.counts(of: receipt)
        XCTAssertEqual(counts[.completed], 1)
        // But not without end, and then before anything is accepted.
        var refusals = 0
        for _ in 0..<5 where await refusal(exchange, device, report) != nil { refusals += 1 }
        XCTAssertEqual(refusals, 4)
    }

    func test_exchange_noRate_isNeverRefused() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let exchange = exchange(house, perMinute: nil, burst: 1)
        for _ in 0..<500 {
            let refused = await refusal(exchange, device)
            XCTAssertNil(refused)
        }
    }

    func test_offer_handedOutAgain_countsRedeliveries() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.command("a", to: device)
        var counts: [Int32] = []
        for _ in 0..<3 {
            let answer = try await house.poll(device)
            counts += answer.operations.map(\.redelivery)
            XCTAssertEqual(answer.open, 1)
            house.clock.advance(by: .seconds(60))
        }
        XCTAssertEqual(counts, [0, 1, 2])
    }
}
