/// Tells whose credential one is that a replica does not hold: a worker's question to its manager.
public protocol CredentialOracle: Sendable {
    /// The enrolled device whose credential has this digest.
    ///
    /// - Returns: `nil` only if no enrolled device has it.
    /// - Throws: whenever that cannot be known now.
    func device(credential: CredentialDigest) async throws -> DeviceRow?
}
