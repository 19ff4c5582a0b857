#if Server
package import HTTPHandling

/// The bodies of the admin API, as `Documentation/OpenAPI/admin-v1.json` describes them.
///
/// Times are milliseconds since 1970, durations seconds with decimals. Unknown members are ignored.
/// The types are `Codable` both ways: the console writes what the package's commands read.
package enum AdminMessages: Sendable {}

/// Devices and groups.
extension AdminMessages {
    /// The answer to `GET /devices`.
    package struct DeviceList: Codable, Hashable, Sendable {
        package var devices: [DeviceView]
        /// Where the next page begins; absent on the last one.
        package var next: String?

        package init(devices: [DeviceView], next: String? = nil) {
            self.devices = devices
            self.next = next
        }
    }

    /// A device. Neither its credential's digest nor its push address is ever shown.
    package struct DeviceView: Codable, Hashable, Sendable {
        package var id: String
        /// `enrolled` or `removed`.
        package var state: String
        /// `active`, `unreachable` or `inactive`.
        package var liveness: String
        /// Seconds; absent for the product's default.
        package var pollingFrequency: Double?
        package var enrolledAt: Int64
        package var removedAt: Int64?
        package var lastSeen: Int64?
        /// The transport it is woken through, if it registered one.
        package var pushTransport: String?
        /// The end user it belongs to, if any.
        package var owner: String?
        /// With one device only: what it last said, by kind.
        package var information: [String: InformationView]?

        package init(
            id: String,
            state: String,
            liveness: String,
            pollingFrequency: Double? = nil,
            enrolledAt: Int64,
            removedAt: Int64? = nil,
            lastSeen: Int64? = nil,
            pushTransport: String? = nil,
            owner: String? = nil,
            information: [String: InformationView]? = nil
        ) {
            self.id = id
            self.state = state
            self.liveness = liveness
            self.pollingFrequency = pollingFrequency
            self.enrolledAt = enrolledAt
            self.removedAt = removedAt
            self.lastSeen = lastSeen
            self.pushTransport = pushTransport
            self.owner = owner
            self.information = information
        }
    }

    /// One kind of information.
    package struct InformationView: Codable, Hashable, Sendable {
        package var receivedAt: Int64
        package var body: JSONValue

        package init(receivedAt: Int64, body: JSONValue) {
            self.receivedAt = receivedAt
            self.body = body
        }
    }

    /// The answer to `GET /groups`.
    package struct GroupList: Codable, Hashable, Sendable {
        package var groups: [GroupView]

        package init(groups: [GroupView]) {
            self.groups = groups
        }
    }

    /// A group and its present members.
    package struct GroupView: Codable, Hashable, Sendable {
        package var group: String
        package var members: Int
        /// What defines its members; absent for a group that is kept by list.
        package var query: String?
        /// With a query: whether every device has been compared with it.
        package var isSettled: Bool?
        /// Seconds; absent where the group has no frequency.
        package var pollingFrequency: Double?

        package init(
            group: String,
            members: Int,
            query: String? = nil,
            isSettled: Bool? = nil,
            pollingFrequency: Double? = nil
        ) {
            self.group = group
            self.members = members
            self.query = query
            self.isSettled = isSettled
            self.pollingFrequency = pollingFrequency
        }
    }

    /// The body of `POST /groups/{group}/members`.
    package struct MembersRequest: Codable, Hashable, Sendable {
        package var join: [String]?
        package var leave: [String]?

        package init(join: [String]? = nil, leave: [String]? = nil) {
            self.join = join
            self.leave = leave
        }
    }

    /// The answer to `POST /groups/{group}/members`.
    package struct MembersAnswer: Codable, Hashable, Sendable {
        /// Memberships that began or ended.
        package var changed: Int
        /// Devices named that are not enrolled.
        package var unknown: Int
        package var revision: String

        package init(changed: Int, unknown: Int, revision: String) {
            self.changed = changed
            self.unknown = unknown
            self.revision = revision
        }
    }
}

extension AdminMessages {
    /// The body of `PUT /devices/{device}/polling` and `PUT /groups/{group}/polling`.
    package struct PollingRequest: Codable, Hashable, Sendable {
        /// Seconds; `nil` for none of its own. The member must be there.
        package var frequency: Double?

        package init(frequency: Double?) { self.frequency = frequency }

        private enum CodingKeys: String, CodingKey { case frequency }

        package init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            guard container.contains(.frequency) else {
                throw DecodingError.keyNotFound(
                    CodingKeys.frequency,
                    DecodingError.Context(codingPath: decoder.codingPath, debugDescription: "")
                )
            }
            frequency = try container.decodeIfPresent(Double.self, forKey: .frequency)
        }

        package func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(frequency, forKey: .frequency)
        }
    }
}
#endif
