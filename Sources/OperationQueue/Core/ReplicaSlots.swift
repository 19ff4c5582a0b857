internal import ClusterRole
internal import DeviceRegistry

// The rows of the tables of a replica image, packed.

extension ReplicaTables {
    /// One device. Its tenant is an index into `tenants`.
    struct Slot: Sendable {
        /// Where its name stands in the pool: offset and length in one word.
        private var packedName: UInt64
        var incarnation = IncarnationID(bits: 0)
        var credential = CredentialDigest(high: 0, low: 0)
        /// −1: none.
        var pollingMilliseconds: Int64 = -1
        var tenant: Int32
        /// The first interval in the pool; −1: none.
        var intervals: Int32 = -1
        /// `nil` until the device's own row has come.
        var state: EnrolmentState?

        init(name: Range<Int>, tenant: Int32) {
            packedName = UInt64(name.lowerBound) << 16 | UInt64(name.count)
            self.tenant = tenant
        }

        var name: Range<Int> {
            let start = Int(packedName >> 16)
            return start..<start + Int(packedName & 0xFFFF)
        }
    }

    /// One membership interval.
    struct Interval: Sendable {
        var joined: Int64
        /// `Int64.max` while it lasts.
        var left: Int64
        /// The low half of the incarnation: 64 random bits tell the lives of one device apart.
        var incarnation: UInt64
        var group: Int32
        /// The next interval of the device, or of the free list; −1: none.
        var next: Int32

        func isAddressed(by number: Int64, _ scope: GroupScope) -> Bool {
            scope.addresses(number, joined: joined, left: left == .max ? nil : left)
        }
    }

    struct ActivitySlot: Sendable {
        /// `nil`: a free place.
        var activity: ReplicaActivity?
        var group: Int32?
        /// Named devices.
        var targets: [DeviceIndex] = []
        /// Rows that are not final.
        var open: [DeviceIndex: Execution] = [:]
        /// Devices whose row is final.
        var done = DenseIndexSet()
        /// Those of them that have not completed it: few, and what is behind it must know.
        var unsuccessful = DenseIndexSet()
    }

    struct NamedTarget: Sendable {
        var number: Int64
        var incarnation: UInt64
    }

    struct GroupKey: Hashable, Sendable {
        var tenant: Int32
        var group: GroupID
    }

    struct PendingExecution: Sendable {
        var device: DeviceIndex
        var row: Execution
    }

    struct EarlyTarget: Sendable {
        var device: DeviceIndex
        var incarnation: IncarnationID
    }
}
