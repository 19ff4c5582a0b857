/// The push transports of a node, by the name a `PushRegistration` gives: `http`, `apns`, …
///
/// ```swift
/// let transports: TransportTable = ["http": httpTransport, "pager": MyPagerTransport()]
/// ```
public struct TransportTable: Sendable, ExpressibleByDictionaryLiteral {
    private var transports: [String: any PushTransport]

    /// Of two transports of one name the last counts.
    public init(_ transports: [String: any PushTransport] = [:]) { self.transports = transports }

    public init(dictionaryLiteral elements: (String, any PushTransport)...) {
        transports = Dictionary(elements) { _, last in last }
    }

    /// The transport of a name; `nil`: devices registered with it are left to polling.
    public subscript(name: String) -> (any PushTransport)? {
        get { transports[name] }
        set { transports[name] = newValue }
    }

    /// The names, sorted.
    public var names: [String] { transports.keys.sorted() }
}
