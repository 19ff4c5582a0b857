#if Server

/// What is published by itself, previews, and root records.
extension AdminMessages {
    /// A channel a release needs.
    package struct DependencyView: Codable, Hashable, Sendable {
        package var channel: String
        /// The lowest release that will do; 1 if it is left out.
        package var atLeast: Int64?

        package init(channel: String, atLeast: Int64? = nil) {
            self.channel = channel
            self.atLeast = atLeast
        }
    }

    /// The answer to `POST /channels/{channel}/preview`.
    package struct PreviewAnswer: Codable, Hashable, Sendable {
        /// Whether the newest release names this tree already.
        package var repeated: Bool
        /// The number the release would have, or has.
        package var number: Int64
        package var root: String
        package var files: Int
        package var bytes: Int64
        /// At most ``maximumPaths`` of each; the counts are whole.
        package var added: [String]
        package var changed: [String]
        package var modeChanged: [String]
        package var removed: [String]
        package var addedCount: Int
        package var changedCount: Int
        package var modeChangedCount: Int
        package var removedCount: Int
        /// The bytes of files that were added or changed: what travels at most, before compression.
        package var newBytes: Int64
        package var removedBytes: Int64
        /// The length of the full bundle.
        package var fullBundleBytes: Int64
        /// Of the difference to the current release; absent if workers would fetch the full one.
        package var updateBundleBytes: Int64?

        /// The most paths of a kind that are listed.
        package static let maximumPaths = 1_000
    }

    /// The body of `PUT /channels/{channel}/publishing`.
    package struct PublishingRequest: Codable, Hashable, Sendable {
        /// `automatic` or `manual`.
        package var mode: String

        package init(mode: String) { self.mode = mode }
    }

    /// How a watched directory stands.
    package struct PublishingView: Codable, Hashable, Sendable {
        package var channel: String
        package var directory: String
        /// `automatic` or `manual`.
        package var mode: String
        /// Whether there is something that is not published yet.
        package var pending: Bool
        package var lastLookAt: Int64?
        package var lastChangeAt: Int64?
        package var lastAttemptAt: Int64?
        package var lastPublishedAt: Int64?
        /// `published`, `unchanged` or `refused`; absent before the first attempt.
        package var lastOutcome: String?
        /// For `published` and `unchanged`.
        package var number: Int64?
        /// For `refused`.
        package var errorCode: String?
        package var errorMessage: String?
    }

    /// The answer to `GET /roots`, oldest first.
    package struct RootList: Codable, Hashable, Sendable {
        package var roots: [RootView]
    }

    /// A root record.
    package struct RootView: Codable, Hashable, Sendable {
        package var version: Int64
        package var rootKeys: [String]
        package var rootThreshold: Int
        package var releaseKeys: [String]
        package var releaseThreshold: Int
        package var pointerKeys: [String]
        package var pointerThreshold: Int
        package var expiresAt: Int64?
        /// The signed record in hexadecimal, as it is installed elsewhere.
        package var record: String
    }

    /// The body of `POST /roots`.
    package struct RootRequest: Codable, Hashable, Sendable {
        /// A signed root record in hexadecimal.
        package var record: String

        package init(record: String) { self.record = record }
    }
}
#endif
