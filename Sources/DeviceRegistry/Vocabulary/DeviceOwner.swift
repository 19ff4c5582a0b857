public import ClusterRole

/// The end user who owns a device: the name of his identity. Unique in its tenant.
///
/// Ownership belongs to one enrolment: a device that enrols anew has the owner it is enrolled with, or
/// none, so nobody keeps seeing what he has sold.
public struct OwnerID: NameIdentifier {
    public static let noun = "owner"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}
