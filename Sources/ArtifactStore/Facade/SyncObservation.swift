internal import ClusterRole
internal import Logging
internal import Metrics
internal import Tracing

extension ArtifactSync {
    /// Logs, counts and marks what one look came to. Looks without news are silent.
    func observe(_ report: SyncReport, _ span: any Span) {
        let label: String
        switch report.outcome {
        case .unchanged, .empty, .available: return
        case .activated: label = "activated"
        case .adopted: label = "adopted"
        case .refused: label = "refused"
        case .held: label = "held"
        }
        Counter(label: "reeve_artifact_syncs_total", dimensions: [("outcome", label)]).increment()
        Counter(label: "reeve_artifact_sync_bytes_total").increment(by: report.bytesReceived)
        Metrics.Timer(label: "reeve_artifact_sync_seconds").recordMilliseconds(
            report.duration.milliseconds
        )
        span.attributes["reeve.outcome"] = label
        var metadata: Logger.Metadata = [
            "channel": "\(channel)", "transfer": "\(report.transfer.rawValue)",
            "bytes": "\(report.bytesReceived)", "changed": "\(report.filesChanged)",
            "milliseconds": "\(report.duration.milliseconds)",
        ]
        if let release = report.release {
            span.attributes["reeve.release"] = release.number.rawValue
            metadata["number"] = "\(release.number)"
            metadata["root"] = "\(release.root)"
        }
        if case .refused(let error) = report.outcome {
            metadata["error"] = "\(error)"
            configuration.logger.error(
                "A release is refused; the active one stays.",
                metadata: metadata
            )
        } else if case .held(let hold) = report.outcome {
            metadata["reason"] = "\(hold.error.message)"
            configuration.logger.notice(
                "A release waits for another channel.",
                metadata: metadata
            )
        } else {
            configuration.logger.info("A release is \(label).", metadata: metadata)
        }
    }
}

extension ArtifactStoreError {
    /// Whether it speaks against the release itself, rather than for trying the same again.
    var isRefusal: Bool {
        switch code {
        case .unavailable, .notFound, .fileSystem, .locked: false
        default: true
        }
    }

    /// Whether fetching the same release again cannot help.
    var isLasting: Bool {
        switch code {
        case .unsafePath, .unsafeLink, .unsupportedEntry, .deploymentFailed, .deploymentTimedOut:
            true
        default: false
        }
    }
}
