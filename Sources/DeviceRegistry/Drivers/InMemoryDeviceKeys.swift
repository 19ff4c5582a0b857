internal import ClusterRole

struct InMemoryDeviceKey: Hashable, Sendable {
    var tenant: TenantID
    var id: DeviceID

    init(_ tenant: TenantID, _ id: DeviceID) {
        self.tenant = tenant
        self.id = id
    }
}

struct InMemoryGroupKey: Hashable, Sendable {
    var tenant: TenantID
    var group: GroupID

    init(_ tenant: TenantID, _ group: GroupID) {
        self.tenant = tenant
        self.group = group
    }
}

/// Device ids that are sorted when somebody asks for them in order.
struct InMemoryDeviceOrder: Sendable {
    private var ids: [DeviceID] = []
    private var isSorted = true

    mutating func append(_ id: DeviceID) {
        if let last = ids.last, id < last { isSorted = false }
        ids.append(id)
    }

    mutating func remove(_ id: DeviceID) { ids.removeAll { $0 == id } }

    mutating func page(after: DeviceID?, limit: Int) -> [DeviceID] {
        if !isSorted {
            ids.sort()
            isSorted = true
        }
        var low = 0
        if let after {
            var high = ids.count
            while low < high {
                let middle = (low + high) / 2
                if ids[middle] > after { high = middle } else { low = middle + 1 }
            }
        }
        return Array(ids[low...].prefix(limit))
    }
}
