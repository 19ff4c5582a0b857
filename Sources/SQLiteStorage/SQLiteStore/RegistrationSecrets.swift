#if SQLite
/// What encrypts push registrations at rest.
///
/// A pair of functions rather than a key, so that a product may keep its key in a service of its own.
public struct RegistrationSecrets: Sendable {
    /// Encrypts and authenticates `plaintext`, bound to `context`.
    let seal: @Sendable (_ plaintext: [UInt8], _ context: [UInt8]) throws -> [UInt8]
    /// Opens what `seal` made with the same context.
    let open: @Sendable (_ sealed: [UInt8], _ context: [UInt8]) throws -> [UInt8]

    /// - Parameters:
    ///   - seal: encrypts and authenticates its first argument; the second, which says whose
    ///     registration it is, must be authenticated with it.
    ///   - open: opens what `seal` made; throws when anything was changed.
    public init(
        seal: @escaping @Sendable (_ plaintext: [UInt8], _ context: [UInt8]) throws -> [UInt8],
        open: @escaping @Sendable (_ sealed: [UInt8], _ context: [UInt8]) throws -> [UInt8]
    ) {
        self.seal = seal
        self.open = open
    }
}
#endif
