#if Server
package import HTTPHandling

/// What devices told in typed form, what happened to them, and groups defined by queries.
extension AdminMessages {
    /// The answer to `GET /devices/{device}/information`.
    package struct DeviceProfileView: Codable, Hashable, Sendable {
        /// Text, number or boolean, by name.
        package var properties: [String: JSONValue]
        package var location: LocationView?
        package var applications: [ApplicationView]

        package init(
            properties: [String: JSONValue],
            location: LocationView? = nil,
            applications: [ApplicationView]
        ) {
            self.properties = properties
            self.location = location
            self.applications = applications
        }
    }

    /// Where a device was.
    package struct LocationView: Codable, Hashable, Sendable {
        package var latitude: Double
        package var longitude: Double
        package var accuracy: Double?
        package var altitude: Double?
        package var recordedAt: Int64
        package var receivedAt: Int64

        package init(
            latitude: Double,
            longitude: Double,
            accuracy: Double? = nil,
            altitude: Double? = nil,
            recordedAt: Int64,
            receivedAt: Int64
        ) {
            self.latitude = latitude
            self.longitude = longitude
            self.accuracy = accuracy
            self.altitude = altitude
            self.recordedAt = recordedAt
            self.receivedAt = receivedAt
        }
    }

    /// An application on a device.
    package struct ApplicationView: Codable, Hashable, Sendable {
        package var identifier: String
        package var version: String
        package var name: String

        package init(identifier: String, version: String, name: String) {
            self.identifier = identifier
            self.version = version
            self.name = name
        }
    }

    /// The answer to `GET /devices/{device}/locations`.
    package struct LocationList: Codable, Hashable, Sendable {
        /// Newest first.
        package var locations: [LocationView]
        /// Where the next page begins; absent on the last one.
        package var next: String?

        package init(locations: [LocationView], next: String? = nil) {
            self.locations = locations
            self.next = next
        }
    }

    /// The answer to `GET /devices/{device}/history`.
    package struct HistoryList: Codable, Hashable, Sendable {
        /// Newest first.
        package var entries: [HistoryEntryView]
        /// Where the next page begins; absent on the last one.
        package var next: String?

        package init(entries: [HistoryEntryView], next: String? = nil) {
            self.entries = entries
            self.next = next
        }
    }

    /// One entry of a device's history.
    package struct HistoryEntryView: Codable, Hashable, Sendable {
        package var number: Int64
        package var at: Int64
        /// Empty if nobody asked for it.
        package var who: String
        package var what: String
        package var detail: String

        package init(number: Int64, at: Int64, who: String, what: String, detail: String) {
            self.number = number
            self.at = at
            self.who = who
            self.what = what
            self.detail = detail
        }
    }

    /// The body of `PUT /groups/{group}/query`.
    package struct GroupQueryRequest: Codable, Hashable, Sendable {
        /// The text form of a query.
        package var query: String

        package init(query: String) { self.query = query }
    }

    /// The answer to `PUT /groups/{group}/query`.
    package struct GroupQueryAnswer: Codable, Hashable, Sendable {
        /// The query, as it was understood.
        package var query: String
        /// Devices compared with it.
        package var evaluated: Int
        /// Memberships that began or ended.
        package var changed: Int
        package var revision: String

        package init(query: String, evaluated: Int, changed: Int, revision: String) {
            self.query = query
            self.evaluated = evaluated
            self.changed = changed
            self.revision = revision
        }
    }

    /// How many enrolled devices are how fresh, as last recorded.
    package struct LivenessView: Codable, Hashable, Sendable {
        package var active: Int
        package var unreachable: Int
        package var inactive: Int

        package init(active: Int, unreachable: Int, inactive: Int) {
            self.active = active
            self.unreachable = unreachable
            self.inactive = inactive
        }
    }
}
#endif
