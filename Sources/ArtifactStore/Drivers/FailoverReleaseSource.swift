public import ClusterRole
internal import Synchronization

/// Several sources as one, in the order given: the managers, then peers, then an exported bundle.
///
/// The first that answers is believed. A later one is asked only while all before it fail, and
/// cannot make a node forget: that it has no release of a channel means nothing, and neither does
/// an older release than one that passed here before. Whatever it hands out is verified like
/// everything else.
public final class FailoverReleaseSource: ReleaseSource {
    private struct State {
        /// Which source named an object.
        var places: [ContentDigest: Int] = [:]
        var newest: [Line: ReleaseNumber] = [:]
    }

    private struct Line: Hashable {
        let tenant: TenantID
        let channel: ChannelName
    }

    private let sources: [any ReleaseSource]
    private let state = Mutex(State())

    /// 1,024 objects are remembered; others are asked for everywhere.
    private static let maximumPlaces = 1_024

    /// - Parameter sources: the most trusted for news first; at least one.
    public init(_ sources: [any ReleaseSource]) { self.sources = sources }

    public func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        let line = Line(tenant: tenant, channel: channel)
        var failure: (any Error)?
        for (index, source) in sources.enumerated() {
            do {
                let answer = try await source.latestRelease(
                    of: channel,
                    tenant: tenant,
                    unlessAt: revision
                )
                if note(answer, of: line, from: index) { return answer }
            } catch let error as CancellationError {
                throw error
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? unavailable()
    }

    /// - Returns: whether the answer counts.
    private func note(_ answer: ReleaseAnswer, of line: Line, from index: Int) -> Bool {
        guard case .release(let stored) = answer else {
            return index == 0 || answer == .unchanged
        }
        let number = stored.release.number
        return state.withLock { state in
            if index > 0, let newest = state.newest[line], number < newest { return false }
            state.newest[line] = max(number, state.newest[line] ?? number)
            if state.places.count > Self.maximumPlaces { state.places = [:] }
            for bundle in stored.published.bundles { state.places[bundle.object] = index }
            return true
        }
    }

    public func bundle(
        _ bundle: BundleDescription,
        from offset: Int64
    ) async throws -> ByteChunks {
        let place = state.withLock { $0.places[bundle.object] }
        let order = [place].compactMap { $0 } + sources.indices.filter { $0 != place }
        var failure: (any Error)?
        for index in order {
            do {
                return try await sources[index].bundle(bundle, from: offset)
            } catch let error as CancellationError {
                throw error
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? unavailable()
    }

    /// The first source that has something to say.
    public func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer {
        var failure: (any Error)?
        var silent: TrustAnswer?
        for source in sources {
            do {
                let answer = try await source.trust(
                    of: channel,
                    tenant: tenant,
                    afterRoot: version
                )
                if answer.pointer != nil || !answer.roots.isEmpty { return answer }
                silent = answer
            } catch let error as CancellationError {
                throw error
            } catch {
                failure = failure ?? error
            }
        }
        if let silent { return silent }
        throw failure ?? unavailable()
    }

    /// Asked of the first source that makes one. One that was begun by another source does not fit
    /// what came before: it fails its checks, and the full bundle is taken.
    public func update(
        from root: TreeID,
        to release: Release,
        at offset: Int64
    ) async throws -> ByteChunks? {
        for source in sources {
            do {
                let found = try await source.update(from: root, to: release, at: offset)
                if let found { return found }
            } catch let error as CancellationError {
                throw error
            } catch {
                continue
            }
        }
        return nil
    }

    /// Told to the first that takes it: peers and exports do not.
    public func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        var failure: (any Error)?
        for source in sources {
            do {
                return try await source.acknowledge(applied, tenant: tenant)
            } catch let error as CancellationError {
                throw error
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? unavailable()
    }

    private func unavailable() -> ArtifactStoreError {
        ArtifactStoreError(.unavailable, "No source of releases answers. They are asked again.")
    }
}
