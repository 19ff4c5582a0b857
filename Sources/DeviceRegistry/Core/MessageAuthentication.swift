internal import Crypto

/// HMAC-SHA256 (RFC 2104), for modules that sign messages and have no other use for cryptography.
package enum MessageAuthentication {
    /// The 32 bytes of the code.
    ///
    /// - Parameters:
    ///   - message: what is signed.
    ///   - key: the secret both sides have.
    package static func code(for message: [UInt8], key: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: key)))
    }
}
