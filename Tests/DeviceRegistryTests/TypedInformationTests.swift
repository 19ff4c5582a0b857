import ClusterRole
import DeviceRegistry
import XCTest

final class TypedInformationTests: XCTestCase {
    private let time = Timestamp(milliseconds: 1_000)

    private func typed(_ kind: InformationKind, _ text: String) throws -> TypedInformation? {
        try TypedInformationRules.typed(
            DeviceInformation(kind: kind, body: Array(text.utf8), receivedAt: time)
        )
    }

    func test_properties_nestedObjects_becomeNamesWithDots() throws {
        let text = """
            {"os": {"name": "ios\\u00e9\\uD83D\\uDE00\\n", "version": {"major": -1.5e1}}, "b": false,
             "none": null, "list": [1], "a": "x", "a": "y", "": {"x": 1}}
            """
        guard case .properties(let found)? = try typed(.properties, text) else {
            return XCTFail("no properties")
        }
        XCTAssertEqual(
            found,
            [
                DeviceProperty(name: ".x", value: .number(1)),
                DeviceProperty(name: "a", value: .text("y")),
                DeviceProperty(name: "b", value: .flag(false)),
                DeviceProperty(name: "os.name", value: .text("iosé😀\n")),
                DeviceProperty(name: "os.version.major", value: .number(-15)),
            ]
        )
    }

    func test_location_rangesAndDefaults_areChecked() throws {
        XCTAssertEqual(
            try typed(.location, #"{"latitude":-90,"longitude":180,"altitude":-3.5,"x":{}}"#),
            .location(
                DeviceLocation(
                    latitude: -90,
                    longitude: 180,
                    altitude: -3.5,
                    recordedAt: time,
                    receivedAt: time
                )
            )
        )
        XCTAssertNil(try typed(InformationKind(rawValue: "other"), "{"))
    }

    func test_applications_eachOnce_inOrder() throws {
        XCTAssertEqual(
            try typed(
                .applications,
                #"[{"id":"b","version":"1"},{"identifier":"a","name":"A"},{"identifier":"b"}]"#
            ),
            .applications([
                InstalledApplication(identifier: "a", name: "A"),
                InstalledApplication(identifier: "b"),
            ])
        )
    }

    func test_documents_ofAnotherShape_areRefusedWithTheirCode() {
        let long = String(repeating: "x", count: 1_025)
        let many = (0...256).map { "\"p\($0)\":1" }.joined(separator: ",")
        let applications = Array(repeating: #"{"identifier":"a"}"#, count: 2_001)
        let rows: [(InformationKind, String, DeviceRegistryError.Code)] = [
            (.properties, "[]", .invalidInformation), (.properties, "{", .invalidInformation),
            (.properties, #"{"":1}"#, .invalidInformation), (.properties, "{\(many)}", .tooLarge),
            (.properties, "{\"\(long)\":1}", .tooLarge),
            (.properties, "{\"a\":\"\(long)\"}", .tooLarge),
            (.location, #"{"lat":52.5}"#, .invalidInformation),
            (.location, "7", .invalidInformation),
            (.location, #"{"latitude":91,"longitude":0}"#, .invalidInformation),
            (.location, #"{"latitude":1e999,"longitude":0}"#, .invalidInformation),
            (.location, #"{"latitude":"1","longitude":0}"#, .invalidInformation),
            (.location, #"{"latitude":1,"longitude":0,"recordedAt":-1}"#, .invalidInformation),
            (.location, #"{"latitude":1,"longitude":0,"recordedAt":1e40}"#, .invalidInformation),
            (.applications, "{}", .invalidInformation), (.applications, "[1]", .invalidInformation),
            (.applications, #"[{"identifier":""}]"#, .invalidInformation),
            (.applications, "[{\"identifier\":\"\(long)\"}]", .tooLarge),
            (.applications, "[\(applications.joined(separator: ","))]", .tooLarge),
            (.properties, String(repeating: "[", count: 65_000), .invalidInformation),
        ]
        for (kind, text, code) in rows {
            XCTAssertThrowsError(try typed(kind, text), text) {
                XCTAssertEqual(
                    ($0 as? DeviceRegistryError)?.code,
                    code,
                    "\(text.prefix(60)): \($0)"
                )
            }
        }
    }
}
