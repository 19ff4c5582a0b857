internal import ClusterRole

extension DeviceQuery {
    /// Whether a device with these facts is asked for: pure.
    public func matches(_ facts: DeviceFacts) -> Bool {
        switch self {
        case .property(let name, let comparison, let value):
            facts.properties[name].map { comparison.holds(between: $0, and: value) } ?? false
        case .exists(let name): facts.properties[name] != nil
        case .installed(let identifier, let bound):
            if let version = facts.applications[identifier] {
                bound.map {
                    $0.comparison.holds(between: .text(version), and: .text($0.version))
                } ?? true
            } else {
                false
            }
        case .member(let group): facts.groups.contains(group)
        case .polling(let comparison, let frequency):
            facts.pollingFrequency.map {
                comparison.holds(
                    between: .number(Double($0.milliseconds)),
                    and: .number(Double(frequency.milliseconds))
                )
            } ?? false
        case .liveness(let liveness): facts.liveness == liveness
        case .and(let parts): parts.allSatisfy { $0.matches(facts) }
        case .or(let parts): parts.contains { $0.matches(facts) }
        case .not(let part): !part.matches(facts)
        }
    }

    /// What the answer depends on.
    public var subjects: Set<Subject> {
        switch self {
        case .property(let name, _, _), .exists(let name): [.property(name)]
        case .installed(let identifier, _): [.application(identifier)]
        case .member(let group): [.group(group)]
        case .polling: [.polling]
        case .liveness: [.liveness]
        case .and(let parts), .or(let parts):
            parts.reduce(into: []) { $0.formUnion($1.subjects) }
        case .not(let part): part.subjects
        }
    }

    /// How a driver finds candidates without looking at every device.
    package enum Access: Hashable, Sendable {
        case members(GroupID)
        case property(String, PropertyValue)
        case application(String)
        case recorded(Liveness)
        case everything
    }

    /// A condition every matching device meets and an index answers in order of device id; the first
    /// one, if there are several.
    package var access: Access {
        switch self {
        case .property(let name, .equals, let value): .property(name, value)
        case .installed(let identifier, _): .application(identifier)
        case .member(let group): .members(group)
        case .liveness(let liveness) where liveness != .active: .recorded(liveness)
        case .and(let parts):
            parts.lazy.map(\.access).first { $0 != .everything } ?? .everything
        case .property, .exists, .polling, .liveness, .or, .not: .everything
        }
    }

    var nodes: Int {
        switch self {
        case .and(let parts), .or(let parts): parts.reduce(1) { $0 + $1.nodes }
        case .not(let part): 1 + part.nodes
        default: 1
        }
    }

    var depth: Int {
        switch self {
        case .and(let parts), .or(let parts): 1 + (parts.map(\.depth).max() ?? 0)
        case .not(let part): 1 + part.depth
        default: 1
        }
    }
}

extension DeviceQuery.Comparison {
    func holds(between left: PropertyValue, and right: PropertyValue) -> Bool {
        switch self {
        case .equals: return left == right
        case .notEquals: return left != right
        case .hasPrefix:
            guard case .text(let text) = left, case .text(let prefix) = right else { return false }
            return text.utf8.starts(with: prefix.utf8)
        case .less, .lessOrEqual, .greater, .greaterOrEqual:
            guard let order = PropertyValue.order(of: left, and: right) else { return false }
            return switch self {
            case .less: order < 0
            case .lessOrEqual: order <= 0
            case .greater: order > 0
            default: order >= 0
            }
        }
    }
}

extension PropertyValue {
    /// Negative if the left is less; `nil` if they cannot be ordered.
    fileprivate static func order(of left: PropertyValue, and right: PropertyValue) -> Int? {
        switch (left, right) {
        case (.number(let left), .number(let right)):
            return left < right ? -1 : (left > right ? 1 : 0)
        case (.text(let left), .text(let right)):
            if let left = DottedNumber(left), let right = DottedNumber(right) {
                return DottedNumber.order(left, right)
            }
            if left.utf8.lexicographicallyPrecedes(right.utf8) { return -1 }
            return left.utf8.elementsEqual(right.utf8) ? 0 : 1
        default: return nil
        }
    }
}

/// A version such as `17.0.3`: digits with dots between.
struct DottedNumber: Hashable {
    /// Digits without leading zeros, so that no length of them overflows.
    private var parts: [Substring]

    init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let isDotted = parts.allSatisfy { part in
            !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) }
        }
        guard isDotted else { return nil }
        self.parts = parts.map { $0.drop { $0 == "0" } }
    }

    /// Negative if the left is less. Parts that are missing count as 0.
    static func order(_ left: DottedNumber, _ right: DottedNumber) -> Int {
        for index in 0..<max(left.parts.count, right.parts.count) {
            let one = index < left.parts.count ? left.parts[index] : ""
            let other = index < right.parts.count ? right.parts[index] : ""
            if one.utf8.count != other.utf8.count { return one.utf8.count - other.utf8.count }
            if one != other { return one < other ? -1 : 1 }
        }
        return 0
    }
}

extension DeviceQuery.Subject {
    /// As it stands in an index; no two subjects share a key.
    package var key: String {
        switch self {
        case .property(let name): "p:" + name
        case .application(let identifier): "a:" + identifier
        case .group(let group): "g:" + group.rawValue
        case .polling: "polling"
        case .liveness: "liveness"
        }
    }
}
