/// What a directory looked like, without a file being read.
struct TreeFingerprint: Hashable, Sendable {
    /// Over every entry's path, kind, size, mode, inode and times.
    let digest: ContentDigest
    let fileCount: Int
    /// The file system it lies on.
    let device: UInt64
}

/// Decides when a watched directory is published. It knows no clock and no disk.
struct PublishWatchCore {
    /// What became of one look.
    enum LookDirective: Equatable {
        /// Nothing changed since it was last published or refused.
        case none
        /// It changed and moves still, or waits for its turn.
        case wait
        /// It changed, is at rest, and somebody must say so.
        case awaitCommit
        case publish
        /// It does not look like a source any more.
        case refuse(ArtifactStoreError)
    }

    let rest: Duration
    let largestRemoval: Double
    private var dealtWith: TreeFingerprint?
    private var device: UInt64?
    private var seen: (fingerprint: TreeFingerprint, since: Duration)?

    init(rest: Duration, largestRemoval: Double) {
        self.rest = rest
        self.largestRemoval = largestRemoval
    }

    /// - Parameters:
    ///   - fingerprint: what the directory looks like now.
    ///   - published: how many files the channel's newest release has; `nil` without one.
    ///   - mode: who decides.
    ///   - now: by a monotonic clock.
    mutating func onLook(
        _ fingerprint: TreeFingerprint,
        published: Int?,
        mode: PublishMode,
        at now: Duration
    ) -> LookDirective {
        guard fingerprint != dealtWith else {
            seen = nil
            return .none
        }
        guard let seen, seen.fingerprint == fingerprint else {
            self.seen = (fingerprint, now)
            return .wait
        }
        guard now - seen.since >= rest else { return .wait }
        if let error = objection(to: fingerprint, published: published) {
            dealtWith = fingerprint
            return .refuse(error)
        }
        return mode == .automatic ? .publish : .awaitCommit
    }

    /// It was published, or refused for good: it is not tried again as it is.
    mutating func onDealtWith(_ fingerprint: TreeFingerprint, isPublished: Bool) {
        dealtWith = fingerprint
        if isPublished { device = fingerprint.device }
        seen = nil
    }

    private func objection(
        to fingerprint: TreeFingerprint,
        published: Int?
    ) -> ArtifactStoreError? {
        if fingerprint.fileCount == 0 {
            return ArtifactStoreError(
                .emptySource,
                "The directory holds no file: it was emptied, or is not mounted. Nothing was published."
            )
        }
        if let device, fingerprint.device != device {
            return ArtifactStoreError(
                .emptySource,
                "The directory lies on another file system than before: something is mounted or not. "
                    + "Nothing was published; commit it if it is meant."
            )
        }
        guard let published, published > 0 else { return nil }
        let least = Double(published) * (1 - largestRemoval)
        guard Double(fingerprint.fileCount) < least else { return nil }
        return ArtifactStoreError(
            .emptySource,
            "Of \(published) files \(fingerprint.fileCount) are left. Nothing was published; commit it if "
                + "it is meant."
        )
    }
}
