// Cutting the beginning of a log whose entries the state's own files cover, and the dispatch of everything around
// snapshots. Whole segments go, on the thread for background work; some bytes of log always stay, so that a member that
// was away for a moment needs no snapshot.
import Raft
import SegmentedLog

extension Group {
    func compactIfDue(now: UInt64) {
        guard let snapshots, now >= snapshots.nextCompaction else { return }
        snapshots.nextCompaction = now + snapshots.settings.compactionInterval
        guard !snapshots.isTrimming, !snapshots.isCheckpointing, snapshots.incoming == nil else { return }
        let bound = compactionBound(snapshots)
        guard log.canTrim(before: bound) else { return }
        snapshots.isTrimming = true
        let (store, log, history) = (snapshots.store, log, history)
        snapshots.works.append(
            SnapshotWork(group: id) {
                do throws(SnapshotFailure) {
                    // A state that rarely fills its memory would otherwise hold on to any amount of log.
                    if store.flushed.index + 1 < bound { try store.flush() }
                    let first = min(bound, store.flushed.index + 1)
                    do throws(SegmentedLogError) {
                        // What the log forgets of its members has to stand elsewhere before.
                        try store.membershipFile.store(
                            index: first - 1, membership: history.membership(asOf: first - 1))
                        try log.trim(before: first)
                    } catch {
                        throw SnapshotFailure("\(error)")
                    }
                    return SnapshotOutcome(content: .trimmed(nil))
                } catch {
                    return SnapshotOutcome(content: .trimmed(error))
                }
            })
    }

    /// The first entry that has to stay.
    private func compactionBound(_ snapshots: GroupSnapshots) -> LogIndex {
        let settings = snapshots.settings
        var bound = min(log.index(leaving: settings.logRetainedBytes), applied + 1)
        if core.role == .leader {
            let kept = log.index(leaving: max(settings.logRetainedForLiveBytes, settings.logRetainedBytes))
            for member in core.progress where member.id != core.id && member.recentActive {
                bound = min(bound, max(member.match + 1, kept))
            }
        }
        if snapshots.outgoing != nil || !snapshots.waiting.isEmpty, let checkpoint = snapshots.checkpoint {
            bound = min(bound, checkpoint.manifest.point.index + 1)
        }
        return bound
    }

    private func trimmed(_ failure: SnapshotFailure?) {
        guard let snapshots else { return }
        snapshots.isTrimming = false
        // A failure costs space only; the next look tries again.
        if let failure { diagnostics?.report(.trimFailed, "\(id): the log can't be cut at the front: \(failure)") }
        let dropped = log.firstIndex - 1
        history.fold(through: min(dropped, applied))
        guard dropped > core.snapshot.index, !snapshots.isInstalling else { return }
        core.compact(through: min(dropped, core.commitIndex))
        snapshots.counters.noteCompaction()
    }

    /// A message of a transfer.
    func receive(_ message: SnapshotMessage, from peer: NodeID, now: UInt64, outbox: Outbox) {
        guard let snapshots else { return }
        switch message.content {
        case .offer(let term, let manifest):
            offered(manifest, term: term, transfer: message.transfer, from: peer, now: now, outbox: outbox)
        case .chunk(let chunk):
            received(chunk, transfer: message.transfer, from: peer, now: now, outbox: outbox)
        case .want, .received, .finished:
            guard snapshots.outgoing?.transfer == message.transfer, snapshots.outgoing?.peer == peer else { return }
            switch message.content {
            case .want(let files): answered(files, now: now)
            case .received(let count): acknowledged(count, now: now)
            case .finished(let index, let reason):
                if index == 0 {
                    diagnostics?.report(.snapshotFailed, "\(id): member \(peer) did not take the snapshot: \(reason)")
                }
                endSending(index: index, now: now, outbox: outbox)
            default: break
            }
        }
    }

    /// Background work has ended.
    func finished(_ outcome: SnapshotOutcome, now: UInt64, outbox: Outbox) {
        switch outcome.content {
        case .trimmed(let failure):
            trimmed(failure)
        case .checkpointed(let result):
            checkpointed(result, now: now, outbox: outbox)
        case .sent(let transfer, let attempt, let result):
            pieceSent(transfer: transfer, attempt: attempt, result, now: now, outbox: outbox)
        case .prepared(let files, let result):
            prepared(files, result, now: now, outbox: outbox)
        case .written(let files, let result):
            written(files, result, now: now, outbox: outbox)
        case .verified(let files, let failure):
            verified(files, failure, now: now, outbox: outbox)
        case .removed:
            break
        }
    }

    /// The connection to a member broke: what runs with it is given up; received files stay for the next try.
    func abandonSnapshots(with peer: NodeID, now: UInt64, outbox: Outbox) {
        guard let snapshots else { return }
        if snapshots.outgoing?.peer == peer { endSending(index: 0, now: now, outbox: outbox) }
        if let incoming = snapshots.incoming, incoming.peer == peer, incoming.phase != .installing {
            snapshots.incoming = nil
            snapshots.leftoversSince = now
            snapshots.counters.noteFailed()
        }
    }
}

/// The switch to a received snapshot, as part of a ``StorageWork``.
public struct SnapshotInstall: Sendable {
    var store: any SnapshotStore
    var manifest: SnapshotManifest

    func perform(log: SegmentedLog) throws(SnapshotFailure) {
        try store.install(manifest, log: log)
    }
}
