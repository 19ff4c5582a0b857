#if Server && SQLite && Push
import Foundation
import HTTPHandling

/// The steps of the demonstration, in order. Each throws as soon as something does not converge.
struct DemoScript: Sendable {
    let options: DemoCommand
    let cluster: DemoCluster
    let progress: DemoProgress
    private let summary = DemoSummary()

    init(options: DemoCommand, cluster: DemoCluster, progress: DemoProgress) {
        self.options = options
        self.cluster = cluster
        self.progress = progress
    }

    /// How long a step may take to converge on a busy machine.
    private static let patience = Duration.seconds(180)
    /// Single devices that get an operation of their own.
    private static let singles = 10

    func run() async throws {
        progress.line("Reeve demonstration in \(cluster.directory.path)")
        let (first, second) = try makeTrees()

        progress.step(1, "Publishing and deploying")
        try await cluster.startFronts()
        try await cluster.startManager(
            frequency: options.frequency,
            publishRoots: [first.path, second?.path ?? first.path]
        )
        progress.line("   manager-1 listens on \(cluster.managerAddress)")
        for index in cluster.workerPorts.indices {
            try await cluster.startWorker(index, frequency: options.frequency)
            progress.line(
                "   \(DemoCluster.workerName(index)) listens on \(cluster.workerAddresses[index])"
            )
        }
        try await reportAccess()
        try await release(first)
        if let second { try await release(second) }

        progress.step(2, "Enrolling \(options.devices) devices and enqueueing")
        try await cluster.startFleet(devices: options.devices, frequency: options.frequency)
        try await enrolled()
        let toGroup = try await enqueue(
            code: "show-message",
            target: .object(["group": .string(DemoCluster.group)])
        )
        let devices = (0..<min(Self.singles, options.devices)).map {
            JSONValue.string(FleetDevice(index: $0 * 3 % options.devices, workers: 1).id)
        }
        let toSingles = try await enqueue(
            code: "lock",
            target: .object(["devices": .array(devices)])
        )

        progress.step(3, "Devices work while nodes die")
        try await killAWorker(during: toGroup)
        try await finished([toGroup, toSingles])
        try await killTheManager()

        progress.step(4, "The background task asks every device for its information")
        try await information()

        progress.step(5, "Summary")
        try await conclude()
        if !options.keepRunning { try await stopEverything() }
    }

    /// What can be reached from where, held against the pattern.
    private func reportAccess() async throws {
        guard let front = cluster.frontAddress else { return }
        try await cluster.requireAccess()
        let serving = cluster.topology.isCombined ? "the workers and manager-1" : "the workers"
        progress.line("   the load balancer \(front) leads devices to \(serving)")
        switch cluster.topology.access {
        case .private: progress.line("   no load balancer leads to the manager's own interfaces")
        case .public: progress.line("   \(cluster.adminAddress) leads operators to manager-1")
        }
    }

    // MARK: 1. Artifacts

    private func makeTrees() throws -> (URL, URL?) {
        if let artifact = options.artifact {
            return (
                URL(fileURLWithPath: artifact).resolvingSymlinksInPath(),
                options.artifactUpdate.map { URL(fileURLWithPath: $0).resolvingSymlinksInPath() }
            )
        }
        let first = cluster.directory.appendingPathComponent("site-1")
        let second = cluster.directory.appendingPathComponent("site-2")
        for directory in [first, second] { try? FileManager.default.removeItem(at: directory) }
        try DemoTree.make(at: first)
        try DemoTree.makeUpdate(of: first, at: second)
        return (first, second)
    }

    /// Publishes a directory and waits until every worker stands on it.
    private func release(_ tree: URL) async throws {
        let start = ContinuousClock.now
        var body: [String: JSONValue] = ["directory": .string(tree.path)]
        if options.allowAbsoluteLinks { body["allowAbsoluteLinks"] = true }
        let published = try await cluster.admin.post(
            "/admin/v1/channels/\(DemoCluster.channel)/releases",
            .object(body)
        )
        guard let number = published["number"]?.integerValue else {
            throw DemoFailure("the manager answered a publish without a release number")
        }
        let files = published["files"]?.count ?? 0
        progress.line(
            "   release \(number): \(files) files, "
                + "\(Figures.bytes(published["bytes"]?.count ?? 0)), published in "
                + Figures.seconds(start.duration(to: .now))
        )
        let acknowledgements = try await cluster.poll(
            "both workers to stand on release \(number)",
            within: Self.patience
        ) { () -> [JSONValue]? in
            let list = try await cluster.admin.get(
                "/admin/v1/channels/\(DemoCluster.channel)/releases"
            )
            let all = (list["acknowledgements"]?.elements ?? []).filter {
                $0["number"]?.integerValue == number
            }
            if let refused = all.first(where: { $0["state"]?.stringValue == "refused" }) {
                throw DemoFailure(
                    "\(refused["node"]?.stringValue ?? "a worker") refused release \(number): "
                        + (refused["errorMessage"]?.stringValue ?? "no reason given")
                )
            }
            return all.count == cluster.activeTrees.count ? all : nil
        }
        guard acknowledgements.allSatisfy({ $0["state"]?.stringValue == "applied" }) else {
            throw DemoFailure("release \(number) was acknowledged, but not applied")
        }
        for index in cluster.workerPorts.indices {
            try await report(number, files: files, of: index)
        }
        let awaited = try await cluster.admin.get(
            "/admin/v1/channels/\(DemoCluster.channel)/await-applied?release=\(number)&wait=25"
        )
        let (applied, nodes) = (awaited["progress"]?["applied"], awaited["progress"]?["nodes"])
        progress.line("   \(applied?.count ?? 0) of \(nodes?.count ?? 0) nodes applied it")
        guard awaited["isReached"] == true, nodes?.count == cluster.activeTrees.count else {
            throw DemoFailure("the manager counts other nodes than serve release \(number)")
        }
        for current in cluster.activeTrees { try TreeComparison.requireEqual(tree, current) }
        progress.line("   the active trees equal the source, file by file")
    }

    /// Tells what a release cost one worker, as the worker itself says.
    private func report(_ number: Int64, files: Int, of index: Int) async throws {
        let node = DemoCluster.workerName(index)
        let status = try await cluster.worker(index).get("/status")
        guard
            let one = status["releases"]?.elements.first(where: {
                $0["number"]?.integerValue == number
            })
        else { throw DemoFailure("\(node) does not know release \(number)") }
        let bytes = one["bytesReceived"]?.count ?? 0
        let kind = one["isIncremental"]?.boolValue == true ? "incremental" : "full"
        let taken = Duration.milliseconds(Int64((one["duration"]?.numberValue ?? 0) * 1_000))
        progress.line(
            "   \(node) activated it: \(Figures.bytes(bytes)) on the wire (\(kind)) in "
                + Figures.seconds(taken)
        )
        summary.add(
            release: number,
            node: node,
            files: files,
            bytes: bytes,
            kind: kind,
            time: taken
        )
    }

    // MARK: 2. Devices and operations

    private func enrolled() async throws {
        let start = ContinuousClock.now
        let figures = try await cluster.poll("every device to enrol", within: Self.patience) {
            let figures = try await cluster.figures()
            progress.update("enrolled \(figures.enrolled) of \(figures.devices)")
            return figures.enrolled == options.devices ? figures : nil
        }
        progress.line(
            "   \(figures.enrolled) devices enrolled through the workers in "
                + Figures.seconds(start.duration(to: .now))
        )
        // Enrolment is a call to the manager: the group is complete when every device has its answer.
        let groups = try await cluster.admin.get("/admin/v1/groups")
        let members = groups["groups"]?.elements.first {
            $0["group"]?.stringValue == DemoCluster.group
        }?["members"]?.count
        guard members == options.devices else {
            throw DemoFailure("the group has \(members ?? 0) members, not \(options.devices)")
        }
    }

    private func enqueue(code: String, target: JSONValue) async throws -> String {
        let answer = try await cluster.admin.post(
            "/admin/v1/operations",
            .object([
                "target": target, "code": .string(code),
                "payload": .object(["text": "Hello from the manager"]),
            ]),
            idempotencyKey: "demo-\(code)"
        )
        guard let activity = answer["activity"]?.stringValue else {
            throw DemoFailure("the manager answered an enqueue without an activity")
        }
        progress.line(
            "   enqueued \(code) to \(answer["addressed"]?.count ?? 0) devices (activity \(activity))"
        )
        return activity
    }

    /// Waits until every execution of the activities is final.
    private func finished(_ activities: [String]) async throws {
        for id in activities {
            let activity = try await cluster.poll("activity \(id) to finish", within: Self.patience)
            {
                () -> JSONValue? in
                guard let activity = try? await cluster.admin.get("/admin/v1/activities/\(id)")
                else {
                    return nil
                }
                progress.update(DemoSummary.describe(activity))
                return activity["state"]?.stringValue == "finished" ? activity : nil
            }
            progress.line("   \(DemoSummary.describe(activity))")
        }
    }

    // MARK: 3. Failures

    private func killAWorker(during activity: String) async throws {
        let threshold = max(1, options.devices / 10)
        _ = try await cluster.poll("a tenth of the devices to answer", within: Self.patience) {
            let figures = try await cluster.figures()
            progress.update("\(figures.executed) executions run")
            return figures.executed >= threshold ? figures : nil
        }
        try await cluster.kill("worker-1")
        let before = try await cluster.figures()
        progress.line("   worker-1 killed (SIGKILL) after \(before.executed) executions")
        let during = try await cluster.poll(
            "devices to go on with worker-2",
            within: Self.patience
        ) {
            let figures = try await cluster.figures()
            let goal = min(options.devices, before.executed + threshold)
            return figures.executed >= goal
                || figures.exchanges > before.exchanges + options.devices
                ? figures : nil
        }
        progress.line(
            "   \(cluster.topology.pattern == nil ? "worker-2" : "the others") went on: \(during.exchanges - before.exchanges) exchanges meanwhile"
        )
        try await cluster.startWorker(0, frequency: options.frequency)
        try await caughtUp("worker-1")
        progress.line("   worker-1 restarted and caught up")
    }

    /// Waits until a node has applied the newest revision.
    private func caughtUp(_ node: String) async throws {
        let newest = try await cluster.admin.get("/admin/v1/status")["revision"]?.stringValue ?? ""
        let goal = Int64(newest.split(separator: ":").last ?? "") ?? 0
        _ = try await cluster.poll("\(node) to catch up", within: Self.patience) { () -> Bool? in
            let nodes = try await cluster.admin.get("/admin/v1/nodes")["nodes"]?.elements ?? []
            guard let one = nodes.first(where: { $0["node"]?.stringValue == node }),
                let applied = one["applied"]?.stringValue?.split(separator: ":").last
            else { return nil }
            return Int64(applied) ?? 0 >= goal ? true : nil
        }
    }

    private func killTheManager() async throws {
        try await cluster.kill("manager-1")
        let before = try await cluster.figures()
        let outage = ContinuousClock.now
        let after = try await cluster.poll(
            "the workers to go on answering without the manager",
            within: Self.patience
        ) {
            let figures = try await cluster.figures()
            let answered = figures.exchanges - before.exchanges
            progress.update("\(answered) exchanges without a manager")
            let isLongEnough = outage.duration(to: .now) >= .seconds(3)
            return isLongEnough && answered >= options.devices / 2 ? figures : nil
        }
        guard after.stranded == before.stranded else {
            throw DemoFailure("devices found no worker while the manager was away")
        }
        progress.line(
            "   manager-1 killed (SIGKILL) for \(Figures.seconds(outage.duration(to: .now))): the "
                + "workers answered \(after.exchanges - before.exchanges) exchanges, none failed"
        )
        try await cluster.startManager(
            frequency: options.frequency,
            publishRoots: [cluster.directory.path]
        )
        for index in cluster.workerPorts.indices {
            try await caughtUp(DemoCluster.workerName(index))
        }
        progress.line("   manager-1 is back and both workers follow it")
    }

    // MARK: 4. Information

    private func information() async throws {
        try await cluster.admin.put(
            "/admin/v1/tasks/device-information",
            .object([
                "group": .string(DemoCluster.group), "code": .string(FleetDevice.informationCode),
                // Each device has its own time, spread over one period: a thousand devices a minute.
                "frequency": .number(Double(min(60, max(3, options.devices * 60 / 1_000)))),
            ])
        )
        let figures = try await cluster.poll("every device to inform", within: Self.patience) {
            let figures = try await cluster.figures()
            progress.update("\(figures.informed) devices have told")
            return figures.informed >= options.devices ? figures : nil
        }
        try await cluster.admin.delete("/admin/v1/tasks/device-information")
        // What the devices told travels through the workers' spools.
        let sample = FleetDevice(index: options.devices / 2, workers: 1).id
        let stored = try await cluster.poll("the answers to be stored", within: Self.patience) {
            () -> JSONValue? in
            let device = try await cluster.admin.get("/admin/v1/devices/\(sample)")
            let information = device["information"]
            return information?["location"] != nil && information?["applications"] != nil
                ? information : nil
        }
        progress.line("   \(figures.informed) devices told their location and applications")
        let text = String(decoding: try stored.encoded(), as: UTF8.self)
        progress.line("   \(sample): \(text)")
    }

    // MARK: 5. Summary

    private func conclude() async throws {
        let activities = try await cluster.poll("nothing to be left open", within: Self.patience) {
            () -> [JSONValue]? in
            let list = try await cluster.admin.get("/admin/v1/activities?limit=100")
            let all = list["activities"]?.elements ?? []
            return all.allSatisfy { $0["state"]?.stringValue != "open" } ? all : nil
        }
        let figures = try await cluster.poll("no device to hold a result", within: Self.patience) {
            let figures = try await cluster.figures()
            return figures.outstanding == 0 ? figures : nil
        }
        let status = try await cluster.admin.get("/admin/v1/status")
        progress.line(
            summary.text(
                activities: activities,
                figures: figures,
                status: status,
                processes: cluster.processes,
                elapsed: progress.elapsed
            )
        )
        try DemoSummary.requireNothingLost(
            activities: activities,
            figures: figures,
            devices: options.devices
        )
    }

    private func stopEverything() async throws {
        try await cluster.stopEverythingGracefully()
        progress.line("\n   every process ended on SIGTERM with status 0")
    }
}
#endif
