internal import ClusterRole

// Groups that are defined by queries.
extension InMemoryDeviceState {
    func definedGroups(of tenant: TenantID) -> [GroupID] {
        definitions.keys.filter { $0.tenant == tenant }.map(\.group).sorted()
    }

    /// Refuses to name the members of a group that is defined by a query.
    func requireList(_ key: InMemoryGroupKey) throws(DeviceRegistryError) {
        if definitions[key] != nil { throw .membersByQuery(key.group) }
    }

    mutating func define(
        _ key: InMemoryGroupKey,
        as query: DeviceQuery?
    ) throws(DeviceRegistryError) -> Outcome {
        guard let query else {
            guard let known = definitions[key] else { return Outcome(changed: 0) }
            forgetSubjects(of: known.query, of: key)
            definitions[key] = nil
            return Outcome(changed: 1)
        }
        try checkNesting(query, of: key)
        if definitions[key] == nil, definedGroups(of: key.tenant).count >= maximumDynamicGroups {
            throw .tooManyDynamicGroups
        }
        if let known = definitions[key] { forgetSubjects(of: known.query, of: key) }
        makeGroup(key)
        definitions[key] = Definition(query: query)
        for subject in query.subjects {
            let place = SubjectKey(tenant: key.tenant, subject: subject)
            groupsBySubject[place, default: []].insert(key.group)
        }
        return Outcome(changed: 1, isSettled: false)
    }

    private func checkNesting(
        _ query: DeviceQuery,
        of key: InMemoryGroupKey
    ) throws(DeviceRegistryError) {
        for case .group(let named) in query.subjects.sorted(by: { $0.key < $1.key })
        where named == key.group || definitions[InMemoryGroupKey(key.tenant, named)] != nil {
            throw .namesDynamicGroup(named)
        }
        let place = SubjectKey(tenant: key.tenant, subject: .group(key.group))
        if let other = groupsBySubject[place]?.filter({ $0 != key.group }).min() {
            throw .isNamedByDynamicGroup(key.group, other)
        }
    }

    private mutating func forgetSubjects(of query: DeviceQuery, of key: InMemoryGroupKey) {
        for subject in query.subjects {
            let place = SubjectKey(tenant: key.tenant, subject: subject)
            groupsBySubject[place]?.remove(key.group)
            if groupsBySubject[place]?.isEmpty ?? false { groupsBySubject[place] = nil }
        }
    }

    mutating func evaluate(_ key: InMemoryGroupKey, limit: Int, number: Int64) -> Outcome {
        guard let definition = definitions[key], !definition.isSettled else { return Outcome() }
        var outcome = Outcome(isSettled: false)
        let limit = max(1, min(limit, maximumPageSize))
        let ids = deviceIDs(in: nil, tenant: key.tenant, after: definition.cursor, limit: limit)
        for id in ids {
            let device = InMemoryDeviceKey(key.tenant, id)
            guard entries[device]?.device.row.state == .enrolled else { continue }
            outcome.evaluated += 1
            let logged = reconsider(device, for: [key.group], number: number)
            outcome.keys += logged
            outcome.changed += logged.isEmpty ? 0 : 1
        }
        if let last = ids.last { definitions[key]?.cursor = last }
        if ids.count < limit {
            definitions[key]?.isSettled = true
            outcome.isSettled = true
        }
        return outcome
    }

    /// Decides anew on the groups whose queries look at what changed.
    mutating func reconsider(
        _ key: InMemoryDeviceKey,
        touching subjects: some Sequence<DeviceQuery.Subject>,
        number: Int64
    ) -> [ChangeKey] {
        if groupsBySubject.isEmpty { return [] }
        var affected: Set<GroupID> = []
        for subject in subjects {
            let place = SubjectKey(tenant: key.tenant, subject: subject)
            affected.formUnion(groupsBySubject[place] ?? [])
        }
        return reconsider(key, for: affected.sorted(), number: number)
    }

    mutating func reconsider(
        _ key: InMemoryDeviceKey,
        for groups: [GroupID],
        number: Int64
    ) -> [ChangeKey] {
        guard !groups.isEmpty, let entry = entries[key] else { return [] }
        let facts = entry.facts
        var keys: [ChangeKey] = []
        for group in groups {
            let place = InMemoryGroupKey(key.tenant, group)
            guard let query = definitions[place]?.query else { continue }
            if query.matches(facts) {
                if let logged = beginMembership(of: key, in: group, number: number) {
                    keys.append(logged)
                }
            } else {
                keys += endMemberships(of: key, number: number) { $0 == group }
            }
        }
        return keys
    }
}

extension InMemoryDeviceState.Entry {
    var facts: DeviceFacts {
        DeviceFacts(
            properties: properties,
            applications: applications.mapValues(\.version),
            groups: Set(memberships.filter { $0.left == nil }.map(\.group)),
            pollingFrequency: device.row.pollingFrequency,
            liveness: silence?.liveness ?? .active
        )
    }
}

extension DeviceRegistryError {
    package static func membersByQuery(_ group: GroupID) -> DeviceRegistryError {
        DeviceRegistryError(
            .dynamicGroup,
            "The members of \(group) are those its query asks for. Change the query, or use another group."
        )
    }

    package static func namesDynamicGroup(_ group: GroupID) -> DeviceRegistryError {
        DeviceRegistryError(
            .dynamicGroup,
            "The query names the group \(group), which is defined by a query itself. Write its query out."
        )
    }

    package static func isNamedByDynamicGroup(
        _ group: GroupID,
        _ other: GroupID
    ) -> DeviceRegistryError {
        DeviceRegistryError(
            .dynamicGroup,
            "The query of \(other) names the group \(group), which therefore stays a list. Use another group."
        )
    }

    package static var tooManyDynamicGroups: DeviceRegistryError {
        DeviceRegistryError(
            .tooLarge,
            "A tenant has at most \(maximumDynamicGroups) groups defined by queries. End another one first."
        )
    }
}
