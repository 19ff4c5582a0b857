#if Server
public import ArtifactStore
internal import ClusterRole
public import HTTPHandling

/// A publisher that came second is told both releases: its own, and the one that was first.
extension ArtifactStoreError: ProblemMembers {
    public var problemMembers: [String: JSONValue] {
        guard let conflict else { return [:] }
        var members: [String: JSONValue] = [:]
        members["expected"] = conflict.expected.map { .integer($0.rawValue) }
        members["offered"] = conflict.offered.map { $0.release.conflictView }
        members["newest"] = conflict.newest.map { $0.release.conflictView }
        return members
    }
}

extension Release {
    fileprivate var conflictView: JSONValue {
        var view: [String: JSONValue] = [
            "number": .integer(number.rawValue), "root": .string(root.description),
            "createdAt": .integer(created.milliseconds), "key": .string(key.rawValue),
        ]
        view["publisher"] = publisher.map { .string($0.rawValue) }
        return .object(view)
    }
}
#endif
