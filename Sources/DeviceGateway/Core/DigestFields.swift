#if Server
internal import HTTPHandling
internal import HTTPTypes

extension HTTPFields {
    /// The SHA-256 of the body, if `Content-Digest` or `Repr-Digest` says it. Bodies come without a
    /// content coding here, so both mean the same bytes.
    ///
    /// - Throws: `HTTPHandlingError` with code `invalidParameter` for a value of another form, or two
    ///   digests that differ.
    func representationDigest() throws -> [UInt8]? {
        let content = try self[.contentDigest].flatMap { try sha256(ofDigestField: $0) }
        let whole = try self[.representationDigest].flatMap { try sha256(ofDigestField: $0) }
        if let content, let whole, content != whole {
            throw HTTPHandlingError(
                .invalidParameter,
                "Content-Digest and Repr-Digest name two digests. Send the body without a coding."
            )
        }
        return content ?? whole
    }
}
#endif
