#if Server
/// Which end of a connection a certificate is presented at.
public enum CertificateUse: Hashable, Sendable {
    /// The end that dials.
    case client
    /// The end that listens.
    case server
}
#endif
