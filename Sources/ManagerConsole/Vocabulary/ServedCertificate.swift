#if Server
/// The certificate the manager shows, for its status: so that nobody is surprised by its end.
public struct ServedCertificate: Codable, Hashable, Sendable {
    /// The node it names.
    public var subject: String
    public var serial: String
    /// In milliseconds since 1970.
    public var expires: Int64
    /// Negative once it has expired.
    public var daysLeft: Double
    /// Why newer files cannot be used; `nil` if what lies there is in use.
    public var lastFailure: String?

    public init(
        subject: String,
        serial: String,
        expires: Int64,
        daysLeft: Double,
        lastFailure: String? = nil
    ) {
        self.subject = subject
        self.serial = serial
        self.expires = expires
        self.daysLeft = daysLeft
        self.lastFailure = lastFailure
    }
}
#endif
