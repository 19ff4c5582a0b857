internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension DeviceStorageConformance {
    /// Random changes, definitions and pages of walks: what the memberships say in the end is what the
    /// queries find.
    static func keepsGroupsTrue(_ scene: StoreScene) async throws {
        let queries = try [
            "v >= \"5\"", "not exists v or n = 3", "installed \"till\" < \"2\"", "polling < 50",
            "member \"list\" and not (n > 4)", "not member \"list\" and not installed \"till\"",
        ].map { try DeviceQuery(parsing: $0) }
        let random = scene.random
        func pick(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
        var rows: [String: DeviceRow] = [:]
        for _ in 0..<250 {
            let name = "d-\(pick(12))"
            let id = DeviceID(rawValue: name)
            let group = GroupID(rawValue: "g-\(pick(4))")
            switch (pick(10), rows[name]) {
            case (0, _), (_, nil):
                rows[name] = try await scene.enrol(name, groups: pick(2) == 0 ? ["list"] : [])
            case (1, _):
                try await scene.change(
                    .remove(id, erase: pick(2) == 0 ? .information : .keepHistory)
                )
                rows[name] = nil
            case (2, _): try await scene.change(.join("list", [id]))
            case (3, _): try await scene.change(.leave("list", [id]))
            case (4, _): try await scene.change(.setPollingFrequency(id, .seconds(pick(99) + 1)))
            case (5, _):
                try await scene.change(.define(group, as: queries[pick(queries.count)]))
            case (6, _): try await scene.change(.evaluate(group, limit: 3))
            case (7, let row?):
                try await scene.apply(
                    scene.information(
                        row,
                        .applications,
                        pick(2) == 0 ? "[]" : #"[{"identifier":"till","version":"\#(pick(4))"}]"#
                    )
                )
            case (_, let row?):
                try await scene.apply(
                    scene.information(row, .properties, #"{"v":"\#(pick(9))","n":\#(pick(6))}"#),
                    scene.information(row, .properties, #"{"v":"\#(pick(9))","n":\#(pick(6))}"#)
                )
            }
        }
        for (index, query) in queries.prefix(4).enumerated() {
            let group = GroupID(rawValue: "g-\(index)")
            let known = try await scene.summary(of: group)
            if known?.query == nil { try await scene.change(.define(group, as: query)) }
            while try await !scene.change(.evaluate(group, limit: 3)).isSettled {}
            let summary = try await scene.summary(of: group)
            let expected = try await scene.ids(
                matching: scene.check.some(summary?.query, "the query of \(group)")
            )
            try scene.check.equal(
                try await scene.ids(in: group),
                expected,
                "members of \(group), defined as \(summary?.query?.description ?? "")"
            )
            try scene.check.equal(summary?.members, expected.count, "their number")
        }
    }
}
