#if Server
package import HTTPHandling

/// The audit log, identities and owners.
extension AdminMessages {
    /// The answer to `GET /audit`, newest first.
    package struct AuditList: Codable, Hashable, Sendable {
        package var entries: [AuditEntryView]
        /// Where the next page begins; absent on the last one.
        package var next: String?

        package init(entries: [AuditEntryView], next: String? = nil) {
            self.entries = entries
            self.next = next
        }
    }

    /// One entry of the audit log.
    package struct AuditEntryView: Codable, Hashable, Sendable {
        package var number: Int64
        package var at: Int64
        /// Absent if nobody was known.
        package var who: String?
        package var kind: String
        package var tenant: String?
        package var operation: String
        package var target: String?
        package var peer: String?
        package var client: String?
        /// `begun`, `done`, `refused` or `failed`.
        package var outcome: String
        package var status: Int?
        package var code: String?
        package var revision: String?
        /// The number of the entry that said it had begun.
        package var begun: Int64?
        package var suppressed: Int64?
        package var digest: String
    }

    /// The answer to `GET /audit/verification`.
    package struct AuditVerificationAnswer: Codable, Hashable, Sendable {
        package var isWhole: Bool
        package var entries: Int
        /// The newest entry, `number:digest`: worth noting elsewhere.
        package var head: String
        package var brokenAt: Int64?
    }

    /// How the audit log stands, in the answer to `GET /status`.
    package struct AuditStatus: Codable, Hashable, Sendable {
        package var head: String
        /// Entries that could not be written since the start.
        package var failed: Int
        /// Refusals counted and not recorded yet.
        package var suppressed: Int64
    }

    /// The answer to `GET /identities`.
    package struct IdentityList: Codable, Hashable, Sendable {
        package var identities: [IdentityView]
    }

    /// A stored identity. Neither its token nor the token's digest is shown.
    package struct IdentityView: Codable, Hashable, Sendable {
        package var name: String
        package var kind: String
        package var permissions: [String]
        package var createdAt: Int64
        package var createdBy: String
        package var expiresAt: Int64?
    }

    /// The body of `POST /identities`.
    package struct IdentityRequest: Codable, Hashable, Sendable {
        package var name: String
        /// `administrator` or `user`; `administrator` if absent.
        package var kind: String?
        package var permissions: [String]?
        /// Seconds; absent for a token without end.
        package var lifetime: Double?
    }

    /// The answer to `POST /identities`.
    package struct IdentityAnswer: Codable, Hashable, Sendable {
        package var identity: IdentityView
        /// Shown this once.
        package var token: String
    }

    /// The body of `PUT /devices/{device}/owner`.
    package struct OwnerRequest: Codable, Hashable, Sendable {
        /// The end user's name; `nil` for nobody. The member must be there.
        package var owner: String?

        package init(owner: String?) { self.owner = owner }

        private enum CodingKeys: String, CodingKey { case owner }

        package init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            guard container.contains(.owner) else {
                throw DecodingError.keyNotFound(
                    CodingKeys.owner,
                    DecodingError.Context(codingPath: decoder.codingPath, debugDescription: "")
                )
            }
            owner = try container.decodeIfPresent(String.self, forKey: .owner)
        }

        package func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(owner, forKey: .owner)
        }
    }
}

/// The bodies of the user API, as `Documentation/OpenAPI/user-v1.json` describes them.
package enum UserMessages: Sendable {
    /// The answer to `GET /devices`.
    package struct DeviceList: Codable, Hashable, Sendable {
        package var devices: [DeviceView]
        package var next: String?
    }

    /// A device, as its owner sees it.
    package struct DeviceView: Codable, Hashable, Sendable {
        package var id: String
        package var liveness: String
        package var ownedSince: Int64?
        package var lastSeen: Int64?
        /// With one device only: what it last said since it is owned, by kind.
        package var information: [String: AdminMessages.InformationView]?
    }

    /// The body of `POST /devices/{device}/operations`.
    package struct OperationRequest: Codable, Hashable, Sendable {
        package var code: String
        package var payload: JSONValue?
        package var payloadBase64: String?
    }

    /// The answer to `POST /devices/{device}/operations`.
    package struct OperationAnswer: Codable, Hashable, Sendable {
        package var activity: String
        package var number: Int64
        package var repeated: Bool
    }

    /// The answer to `GET /devices/{device}/operations`, newest first.
    package struct OperationList: Codable, Hashable, Sendable {
        package var operations: [OperationView]
        package var next: String?
    }

    /// What was asked of an own device.
    package struct OperationView: Codable, Hashable, Sendable {
        package var activity: String
        package var code: String
        package var state: String
        package var createdAt: Int64
        package var updatedAt: Int64
    }

    /// What one asked for.
    package struct ActivityView: Codable, Hashable, Sendable {
        package var id: String
        package var device: String
        package var code: String
        package var state: String
        package var execution: String
        package var createdAt: Int64
        package var closedAt: Int64?
        package var detail: JSONValue?
        package var detailBase64: String?
    }
}
#endif
