#if Server
import ClusterRole
import DeviceGateway
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import OperationQueue
import XCTest

/// A device of one tenant tries to get at another tenant's, which has the same name, through every route.
/// **A new route is a new row.**
final class TenantCrossingTests: XCTestCase {
    private let victim = TenantID(rawValue: "victim")
    private let device = DeviceID(rawValue: "tablet-17")
    private let group = GroupID(rawValue: "shop-3")

    /// What the victim has, and by what the thief names it.
    private struct Crossing {
        var scene: Scene
        var thief: HandlerCaller
        var activity: ActivityID
        /// As the victim's device was given it.
        var execution: String
        var attempt: String
        /// The victim's operation with the thief's own enrolment.
        var forged: String

        var executions: [String] { [execution, forged] }
    }

    private typealias Attempt = @Sendable (Crossing) async throws -> Void

    private func crossing() async throws -> Crossing {
        let scene = try Scene()
        let receipt = try await scene.administration.enrol(device, groups: [group], tenant: victim)
        let thief = try await scene.enrolled(device.rawValue)
        let enqueued = try await scene.enqueuer.enqueue(
            EnqueueRequest("wipe", to: .group(group), payload: Array("\"secret\"".utf8)),
            tenant: victim
        )
        let owner = scene.caller.with(token: receipt.credential.token)
        let offer = try await owner.call(.post, "/device/v1/exchange", [:])
        let operation = try XCTUnwrap(offer.json?["operations"]?[0], offer.text)
        let execution = try ExecutionID(
            parsing: try XCTUnwrap(operation["execution"]?.stringValue)
        )
        let own = try await scene.devices.device(device, tenant: .standard)
        let forged = ExecutionID(
            operation: execution.operation,
            incarnation: try XCTUnwrap(own).row.incarnation,
            device: device
        )
        return Crossing(
            scene: scene,
            thief: thief,
            activity: enqueued.activity,
            execution: execution.description,
            attempt: try XCTUnwrap(operation["attempt"]?.stringValue),
            forged: forged.description
        )
    }

    /// Everything of the victim that a device could change, and nothing that time changes.
    private func picture(_ crossing: Crossing) async throws -> [String] {
        let (devices, operations) = (crossing.scene.devices, crossing.scene.operations)
        let activity = try await operations.activity(crossing.activity, tenant: victim)
        let result = try await operations.largeResult(
            of: crossing.activity,
            on: device,
            tenant: victim
        )
        let executions = try await operations.executions(
            of: crossing.activity,
            after: nil,
            limit: 9,
            tenant: victim
        )
        let members = try await devices.devices(in: group, after: nil, limit: 9, tenant: victim)
        return [
            "\(String(describing: activity))", "\(executions)",
            "\(String(describing: result))",
            "\(String(describing: try await devices.device(device, tenant: victim)))",
            "\(members)",
            "\(try await devices.information(of: device, tenant: victim))",
            "\(try await devices.groups(tenant: victim))",
        ]
    }

    private static let attempts: [String: Attempt] = [
        "enrolDevice": { crossing in
            let answer = try await crossing.scene.caller.call(
                .post,
                "/device/v1/enrolments",
                ["device": "tablet-18", "secret": .string(Scene.secret), "groups": ["shop-3"]]
            )
            XCTAssertEqual(answer.status, 201, answer.text)
            let member = crossing.scene.caller.with(
                token: answer.json?["credential"]?.stringValue
            )
            let polled = try await member.call(.post, "/device/v1/exchange", [:])
            XCTAssertEqual(polled.json?["operations"]?[0], nil, polled.text)
        },
        "endEnrolment": { crossing in
            let answer = try await crossing.thief.send(.delete, "/device/v1/enrolment")
            XCTAssertEqual(answer.status, 204)
        },
        "exchange": { crossing in
            let polled = try await crossing.thief.call(.post, "/device/v1/exchange", [:])
            XCTAssertEqual(polled.json?["operations"]?[0], nil, polled.text)
            for execution in crossing.executions {
                for body: JSONValue in [
                    [
                        "results": [
                            [
                                "execution": .string(execution), "status": "completed",
                                "attempt": .string(crossing.attempt),
                            ]
                        ]
                    ],
                    [
                        "progress": [
                            [
                                "execution": .string(execution),
                                "attempt": .string(crossing.attempt),
                            ]
                        ]
                    ],
                ] {
                    let answer = try await crossing.thief.call(.post, "/device/v1/exchange", body)
                    XCTAssertFalse(answer.text.contains("secret"), answer.text)
                    let isForeign = execution == crossing.execution
                    XCTAssertEqual(answer.status < 300, !isForeign, answer.text)
                }
            }
        },
        "putLargeResult": { crossing in
            for execution in crossing.executions {
                let answer = try await crossing.thief.send(
                    .put,
                    "/device/v1/results/\(execution)",
                    body: Array("abc".utf8)
                )
                XCTAssertEqual(answer.status < 300, execution == crossing.forged, answer.text)
            }
        },
        "putPushRegistration": { crossing in
            let answer = try await crossing.thief.call(
                .put,
                "/device/v1/push-registration",
                ["transport": "http", "address": "http://127.0.0.1:1/thief"]
            )
            XCTAssertEqual(answer.status, 204)
        },
        "deletePushRegistration": { crossing in
            let answer = try await crossing.thief.send(.delete, "/device/v1/push-registration")
            XCTAssertEqual(answer.status, 204)
        },
        "putInformation": { crossing in
            let answer = try await crossing.thief.call(
                .put,
                "/device/v1/information",
                ["location": ["latitude": 1, "longitude": 2]]
            )
            XCTAssertEqual(answer.status, 204)
        },
    ]

    func test_theTable_hasEveryRoute() throws {
        let document = try OpenAPIDocument(named: "device-v1")
        XCTAssertEqual(document.operations.map(\.id).sorted(), Self.attempts.keys.sorted())
    }

    func test_everyRoute_namingWhatAnotherTenantHas_changesAndShowsNothingOfIt() async throws {
        for (name, attempt) in Self.attempts.sorted(by: { $0.key < $1.key }) {
            let crossing = try await crossing()
            let before = try await picture(crossing)
            try await attempt(crossing)
            let after = try await picture(crossing)
            XCTAssertEqual(before, after, "\(name) changed another tenant")
        }
    }
}
#endif
