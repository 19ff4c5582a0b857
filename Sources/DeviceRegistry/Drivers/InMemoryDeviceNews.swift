internal import ClusterRole

// What devices report of themselves, and what is recorded of them.
extension InMemoryDeviceState {
    // MARK: History

    mutating func note(
        _ event: DeviceEvent,
        of key: InMemoryDeviceKey,
        by initiator: String = "",
        detail: String = "",
        at time: Timestamp
    ) {
        var entries = history[key] ?? []
        entries.append(
            DeviceHistoryEntry(
                number: (entries.last?.number ?? 0) + 1,
                at: time,
                who: initiator,
                what: event,
                detail: detail
            )
        )
        history[key] = entries.suffix(InformationLimits.history)
    }

    // MARK: Information

    /// Stores what a device said of itself, unless something received later is stored already; an older
    /// location goes to the history.
    ///
    /// - Returns: memberships that began or ended by it.
    mutating func note(
        _ information: DeviceInformation,
        of key: InMemoryDeviceKey,
        number: Int64
    ) -> [ChangeKey] {
        let known = entries[key]?.information[information.kind]?.receivedAt
        let isNewest = known.map { $0 <= information.receivedAt } ?? true
        if isNewest { entries[key]?.information[information.kind] = information }
        switch TypedInformationRules.stored(information) {
        case .location(let location):
            add(location, of: key)
            return []
        case .properties(let properties) where isNewest:
            let changed = replaceProperties(of: key, by: properties)
            return reconsider(key, touching: changed, number: number)
        case .applications(let applications) where isNewest:
            let changed = replaceApplications(of: key, by: applications)
            return reconsider(key, touching: changed, number: number)
        case .properties, .applications, nil: return []
        }
    }

    private mutating func add(_ location: DeviceLocation, of key: InMemoryDeviceKey) {
        var locations = entries[key]?.locations ?? []
        locations.removeAll { $0.receivedAt == location.receivedAt }
        let place = locations.firstIndex { $0.receivedAt > location.receivedAt }
        locations.insert(location, at: place ?? locations.count)
        entries[key]?.locations = locations.suffix(InformationLimits.locationHistory)
    }

    private mutating func replaceProperties(
        of key: InMemoryDeviceKey,
        by properties: [DeviceProperty]
    ) -> [DeviceQuery.Subject] {
        let old = entries[key]?.properties ?? [:]
        let new = Dictionary(properties.map { ($0.name, $0.value) }) { _, last in last }
        entries[key]?.properties = new
        return Set(old.keys).union(new.keys).filter { old[$0] != new[$0] }
            .map { .property($0) }
    }

    private mutating func replaceApplications(
        of key: InMemoryDeviceKey,
        by applications: [InstalledApplication]
    ) -> [DeviceQuery.Subject] {
        let old = entries[key]?.applications ?? [:]
        let new = Dictionary(applications.map { ($0.identifier, $0) }) { _, last in last }
        entries[key]?.applications = new
        return Set(old.keys).union(new.keys).filter { old[$0] != new[$0] }
            .map { .application($0) }
    }

    /// Deletes what a device told of itself.
    ///
    /// - Returns: whether there was anything.
    @discardableResult
    mutating func erase(
        _ key: InMemoryDeviceKey,
        by initiator: String,
        at now: Timestamp
    ) -> Bool {
        guard let entry = entries[key] else { return false }
        let hadAny =
            !entry.information.isEmpty || !entry.locations.isEmpty || !entry.properties.isEmpty
            || !entry.applications.isEmpty || entry.device.lastSeen != nil
            || entry.registrationTime != nil
        let isRepeated = history[key]?.last?.what == .erased
        guard hadAny || !isRepeated else { return false }
        var bare = InMemoryDeviceState.Entry(device: entry.device, key: entry.key)
        bare.memberships = entry.memberships
        bare.device.lastSeen = nil
        bare.device.push = nil
        entries[key] = bare
        note(.erased, of: key, by: initiator, at: now)
        return true
    }

    // MARK: Liveness

    /// Moves a device's last contact forward. A contact newer than the one it was judged by makes it
    /// active again.
    mutating func note(contact time: Timestamp, of key: InMemoryDeviceKey) {
        guard let entry = entries[key] else { return }
        if entry.device.lastSeen.map({ $0 < time }) ?? true {
            entries[key]?.device.lastSeen = time
        }
        if let silence = entry.silence, time > silence.lastSeen {
            forgetSilence(of: key)
            note(.becameActive, of: key, at: time)
        }
    }

    mutating func record(
        _ changes: [LivenessChange],
        tenant: TenantID,
        at now: Timestamp
    ) -> Outcome {
        var outcome = Outcome()
        for change in changes {
            let key = InMemoryDeviceKey(tenant, change.identity.device)
            guard let entry = entries[key], entry.device.row.identity == change.identity,
                entry.device.row.state == .enrolled,
                entry.device.lastSeen ?? entry.device.enrolledAt == change.lastSeen,
                entry.silence?.liveness ?? .active != change.liveness
            else {
                outcome.unknown += 1
                continue
            }
            forgetSilence(of: key)
            if change.liveness != .active {
                entries[key]?.silence = (change.liveness, change.lastSeen)
                silent[tenant, default: LivenessCounts()][change.liveness] += 1
            }
            note(.became(change.liveness), of: key, at: now)
            outcome.changed += 1
        }
        return outcome
    }

    mutating func forgetSilence(of key: InMemoryDeviceKey) {
        guard let silence = entries[key]?.silence else { return }
        entries[key]?.silence = nil
        silent[key.tenant]?[silence.liveness] -= 1
    }
}
