#if Server
internal import ArtifactStore
internal import ClusterRole

extension AdminMessages.PreviewAnswer {
    init(_ preview: PublishPreview) {
        func listed(_ paths: [TreePath]) -> [String] {
            paths.prefix(Self.maximumPaths).map(\.description)
        }
        let changes = preview.changes
        self.init(
            repeated: preview.outcome == .unchanged,
            number: preview.number.rawValue,
            root: preview.root.description,
            files: preview.fileCount,
            bytes: preview.totalBytes,
            added: listed(changes.added),
            changed: listed(changes.changed),
            modeChanged: listed(changes.modeChanged),
            removed: listed(changes.removed),
            addedCount: changes.added.count,
            changedCount: changes.changed.count,
            modeChangedCount: changes.modeChanged.count,
            removedCount: changes.removed.count,
            newBytes: changes.newBytes,
            removedBytes: changes.removedBytes,
            fullBundleBytes: preview.fullBundleBytes,
            updateBundleBytes: preview.updateBundleBytes
        )
    }
}

extension AdminMessages.PublishingView {
    init(_ task: PublishTask, _ status: PublishTaskStatus) {
        self.init(
            channel: task.channel.rawValue,
            directory: task.directory,
            mode: status.mode.rawValue,
            pending: status.isPending,
            lastLookAt: status.lastLook?.milliseconds,
            lastChangeAt: status.lastChange?.milliseconds,
            lastAttemptAt: status.lastAttempt?.milliseconds,
            lastPublishedAt: status.lastPublished?.milliseconds
        )
        switch status.lastOutcome {
        case .published(let number):
            lastOutcome = "published"
            self.number = number.rawValue
        case .unchanged(let number):
            lastOutcome = "unchanged"
            self.number = number.rawValue
        case .refused(let code, let message):
            lastOutcome = "refused"
            errorCode = code
            errorMessage = message
        case nil: break
        }
    }
}

extension AdminMessages.RootView {
    init(_ signed: SignedRoot) {
        let root = signed.root
        self.init(
            version: root.version,
            rootKeys: root.rootKeys.keys.map(\.description),
            rootThreshold: root.rootKeys.threshold,
            releaseKeys: root.releaseKeys.keys.map(\.description),
            releaseThreshold: root.releaseKeys.threshold,
            pointerKeys: root.pointerKeys.keys.map(\.description),
            pointerThreshold: root.pointerKeys.threshold,
            expiresAt: root.expires?.milliseconds,
            record: signed.encoded.map { byte in
                let digits = String(byte, radix: 16)
                return byte < 16 ? "0" + digits : digits
            }.joined()
        )
    }
}
#endif
