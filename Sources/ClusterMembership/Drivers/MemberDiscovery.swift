/// Finds the well-known members: the managers a node dials to join the cluster.
///
/// Static seeds are ``StaticDiscovery``; names of DNS are looked up by `DNSDiscovery` of the link's client.
/// A product adds its own for what its platform offers: one method.
public protocol MemberDiscovery: Sendable {
    /// The addresses of managers as known now, the likelier ones first: `http://10.0.0.4:8180`, or
    /// `10.0.0.4:8180` for the same. It is asked again when none of them answers.
    ///
    /// - Throws: anything, when it cannot tell now: what was known before stays in use.
    func addresses() async throws -> [String]
}

/// The addresses a node was configured with.
public struct StaticDiscovery: MemberDiscovery {
    private let seeds: [String]

    /// - Parameter seeds: see ``MemberDiscovery/addresses()``.
    public init(_ seeds: [String]) { self.seeds = seeds }

    public func addresses() async throws -> [String] { seeds }
}

/// Several ways of finding managers, one after the other.
public struct CombinedDiscovery: MemberDiscovery {
    private let ways: [any MemberDiscovery]

    /// - Parameter ways: asked in this order; one that throws is passed by.
    public init(_ ways: [any MemberDiscovery]) { self.ways = ways }

    /// The addresses of all ways, each once.
    ///
    /// - Throws: what the last way threw, if none gave an address.
    public func addresses() async throws -> [String] {
        var found: [String] = []
        var failure: (any Error)?
        for way in ways {
            do {
                for address in try await way.addresses() where !found.contains(address) {
                    found.append(address)
                }
            } catch {
                failure = error
            }
        }
        if let failure, found.isEmpty { throw failure }
        return found
    }
}
