internal import ClusterRole
internal import Metrics

/// Turns what a device said into its typed form: pure.
///
/// | kind | shape |
/// |--|--|
/// | `properties` | an object; nested objects become names with dots; `null`s and arrays are left out |
/// | `location` | an object with `latitude` and `longitude`; `accuracy`, `altitude` and `recordedAt` (milliseconds since 1970) if known |
/// | `applications` | an array of objects with `identifier` (or `id`); `version` and `name` if known |
///
/// Members it does not know are ignored: they stay in the JSON document, which is kept as it came.
public enum TypedInformationRules: Sendable {
    /// - Returns: the typed form; `nil` for a kind that has none.
    /// - Throws: ``DeviceRegistryError`` with `invalidInformation` for another shape, `tooLarge` beyond
    ///   ``InformationLimits``.
    public static func typed(
        _ information: DeviceInformation
    ) throws(DeviceRegistryError) -> TypedInformation? {
        switch information.kind {
        case .properties:
            return .properties(try properties(JSONNode(checking: information.body)))
        case .location:
            let document = try JSONNode(checking: information.body)
            return .location(try location(document, receivedAt: information.receivedAt))
        case .applications:
            return .applications(try applications(JSONNode(checking: information.body)))
        default: return nil
        }
    }

    /// The typed form of what a driver is about to store; `nil` if it has none. A document of a shape
    /// nobody knows is counted, and kept as JSON only.
    package static func stored(_ information: DeviceInformation) -> TypedInformation? {
        do {
            return try typed(information)
        } catch {
            Counter(
                label: "reeve_devices_information_untyped_total",
                dimensions: [("kind", information.kind.rawValue), ("code", error.codeName)]
            ).increment()
            return nil
        }
    }

    private static func properties(
        _ document: JSONNode
    ) throws(DeviceRegistryError) -> [DeviceProperty] {
        guard case .object(let members) = document else {
            throw invalid("Properties are one JSON object.")
        }
        var found: [String: PropertyValue] = [:]
        try collect(members, under: "", into: &found)
        return found.map { DeviceProperty(name: $0.key, value: $0.value) }
            .sorted { $0.name < $1.name }
    }

    private static func collect(
        _ members: [JSONNode.Member],
        under prefix: String,
        into found: inout [String: PropertyValue]
    ) throws(DeviceRegistryError) {
        for member in members {
            let name = prefix + member.name
            switch member.value {
            case .object(let inner): try collect(inner, under: name + ".", into: &found)
            case .text(let text): try add(name, .text(text), to: &found)
            case .number(let number) where number.isFinite:
                try add(name, .number(number), to: &found)
            case .flag(let flag): try add(name, .flag(flag), to: &found)
            case .null, .array, .number: continue
            }
        }
    }

    private static func add(
        _ name: String,
        _ value: PropertyValue,
        to found: inout [String: PropertyValue]
    ) throws(DeviceRegistryError) {
        guard !name.isEmpty else { throw invalid("A property has a name.") }
        guard name.utf8.count <= InformationLimits.nameBytes else {
            throw tooLarge("A property's name has at most \(InformationLimits.nameBytes) bytes.")
        }
        if case .text(let text) = value, text.utf8.count > InformationLimits.textBytes {
            throw tooLarge("A property's text has at most \(InformationLimits.textBytes) bytes.")
        }
        found[name] = value
        guard found.count <= InformationLimits.properties else {
            throw tooLarge("A device has at most \(InformationLimits.properties) properties.")
        }
    }

    private static func location(
        _ document: JSONNode,
        receivedAt: Timestamp
    ) throws(DeviceRegistryError) -> DeviceLocation {
        guard let latitude = document["latitude"]?.number, (-90...90).contains(latitude),
            let longitude = document["longitude"]?.number, (-180...180).contains(longitude)
        else {
            throw invalid(
                "A location has a latitude from -90 to 90 and a longitude from -180 to 180."
            )
        }
        var recordedAt = receivedAt
        if let given = document["recordedAt"]?.number {
            let range = Timestamp.distantPast.milliseconds...Timestamp.distantFuture.milliseconds
            guard let time = Int64(exactly: given.rounded()), range.contains(time) else {
                throw invalid("recordedAt is in milliseconds since 1970.")
            }
            recordedAt = Timestamp(milliseconds: time)
        }
        return DeviceLocation(
            latitude: latitude,
            longitude: longitude,
            accuracy: document["accuracy"]?.number,
            altitude: document["altitude"]?.number,
            recordedAt: recordedAt,
            receivedAt: receivedAt
        )
    }

    private static func applications(
        _ document: JSONNode
    ) throws(DeviceRegistryError) -> [InstalledApplication] {
        guard case .array(let elements) = document else {
            throw invalid("Applications are one JSON array.")
        }
        guard elements.count <= InformationLimits.applications else {
            throw tooLarge("A device has at most \(InformationLimits.applications) applications.")
        }
        var found: [String: InstalledApplication] = [:]
        for element in elements {
            let given = element["identifier"] ?? element["id"]
            guard let identifier = given?.text, !identifier.isEmpty else {
                throw invalid("An application has an identifier.")
            }
            let application = InstalledApplication(
                identifier: identifier,
                version: element["version"]?.text ?? "",
                name: element["name"]?.text ?? ""
            )
            let longest = max(
                identifier.utf8.count,
                application.version.utf8.count,
                application.name.utf8.count
            )
            guard longest <= InformationLimits.applicationBytes else {
                throw tooLarge(
                    "An application's texts have at most \(InformationLimits.applicationBytes) bytes."
                )
            }
            found[identifier] = application
        }
        return found.values.sorted { $0.identifier < $1.identifier }
    }

    private static func invalid(_ message: String) -> DeviceRegistryError {
        DeviceRegistryError(.invalidInformation, message)
    }

    private static func tooLarge(_ message: String) -> DeviceRegistryError {
        DeviceRegistryError(.tooLarge, message)
    }
}
