#if Server

/// Channels and releases.
extension AdminMessages {
    /// The answer to `GET /channels`.
    package struct ChannelList: Codable, Hashable, Sendable {
        package var channels: [ChannelView]
        package var next: String?

        package init(channels: [ChannelView], next: String? = nil) {
            self.channels = channels
            self.next = next
        }
    }

    /// A channel and its newest release.
    package struct ChannelView: Codable, Hashable, Sendable {
        package var channel: String
        package var newest: ReleaseView?

        package init(channel: String, newest: ReleaseView? = nil) {
            self.channel = channel
            self.newest = newest
        }
    }

    /// The answer to `GET /channels/{channel}/releases`, newest first.
    package struct ReleaseList: Codable, Hashable, Sendable {
        package var releases: [ReleaseView]
        /// What each node last said of the channel.
        package var acknowledgements: [AcknowledgementView]
        package var next: String?

        package init(
            releases: [ReleaseView],
            acknowledgements: [AcknowledgementView],
            next: String? = nil
        ) {
            self.releases = releases
            self.acknowledgements = acknowledgements
            self.next = next
        }
    }

    /// One release.
    package struct ReleaseView: Codable, Hashable, Sendable {
        package var number: Int64
        package var root: String
        package var kind: String
        package var files: Int
        package var bytes: Int64
        package var createdAt: Int64
        package var expiresAt: Int64?
        package var previousRoot: String?
        /// The channels it needs; absent if there are none.
        package var dependencies: [DependencyView]?
        /// What a node must be able to do; absent for nothing.
        package var capabilities: [String]?
        /// The lowest version of a node's software.
        package var softwareVersion: String?
        /// Who published it.
        package var publisher: String?

        package init(
            number: Int64,
            root: String,
            kind: String,
            files: Int,
            bytes: Int64,
            createdAt: Int64,
            expiresAt: Int64? = nil,
            previousRoot: String? = nil
        ) {
            self.number = number
            self.root = root
            self.kind = kind
            self.files = files
            self.bytes = bytes
            self.createdAt = createdAt
            self.expiresAt = expiresAt
            self.previousRoot = previousRoot
        }
    }

    /// A node's word on a release.
    package struct AcknowledgementView: Codable, Hashable, Sendable {
        package var node: String
        package var number: Int64
        package var root: String
        /// `applied` or `refused`.
        package var state: String
        package var errorCode: String?
        package var errorMessage: String?
        package var at: Int64

        package init(
            node: String,
            number: Int64,
            root: String,
            state: String,
            errorCode: String? = nil,
            errorMessage: String? = nil,
            at: Int64
        ) {
            self.node = node
            self.number = number
            self.root = root
            self.state = state
            self.errorCode = errorCode
            self.errorMessage = errorMessage
            self.at = at
        }
    }

    /// The body of `POST /channels/{channel}/releases`.
    package struct PublishRequest: Codable, Hashable, Sendable {
        /// An absolute path on the manager's machine.
        package var directory: String
        package var kind: String?
        package var allowAbsoluteLinks: Bool?
        package var force: Bool?
        /// Whether the times of files are part of the tree.
        package var keepTimes: Bool?
        /// The channels of the tenant the release needs.
        package var dependencies: [DependencyView]?
        /// What a node must be able to do to be offered it.
        package var capabilities: [String]?
        /// The lowest version of a node's software, such as `2.10.0`.
        package var softwareVersion: String?

        package init(
            directory: String,
            kind: String? = nil,
            allowAbsoluteLinks: Bool? = nil,
            force: Bool? = nil
        ) {
            self.directory = directory
            self.kind = kind
            self.allowAbsoluteLinks = allowAbsoluteLinks
            self.force = force
        }
    }

    /// The answer to a publication or rollback.
    package struct PublishAnswer: Codable, Hashable, Sendable {
        package var number: Int64
        package var root: String
        package var files: Int
        package var bytes: Int64
        package var fullBundleBytes: Int64
        package var incrementalBundleBytes: Int64?
        /// Whether the newest release named this tree already: nothing new was published.
        package var repeated: Bool

        package init(
            number: Int64,
            root: String,
            files: Int,
            bytes: Int64,
            fullBundleBytes: Int64,
            incrementalBundleBytes: Int64? = nil,
            repeated: Bool
        ) {
            self.number = number
            self.root = root
            self.files = files
            self.bytes = bytes
            self.fullBundleBytes = fullBundleBytes
            self.incrementalBundleBytes = incrementalBundleBytes
            self.repeated = repeated
        }
    }

    /// The body of `POST /channels/{channel}/rollback`.
    package struct RollbackRequest: Codable, Hashable, Sendable {
        /// The number of the release whose tree is to be served again.
        package var to: Int64

        package init(to: Int64) {
            self.to = to
        }
    }
}
#endif
