// The member's side of a snapshot: gather the files, check them, hand the whole to the core, and let the storage thread
// put it in the place of log and state. Until that is durable nothing is applied and nothing is acknowledged.
import FileIO
import Raft
import SegmentedLog

extension Group {
    func offered(
        _ manifest: SnapshotManifest, term: Term, transfer: UInt64, from peer: NodeID, now: UInt64, outbox: Outbox
    ) {
        guard let snapshots, term >= core.term, core.role != .leader else { return }
        if let incoming = snapshots.incoming {
            if incoming.transfer == transfer, incoming.peer == peer {
                snapshots.incoming?.lastHeard = now
                if incoming.phase == .receiving {
                    ask(outbox: outbox)
                } else {
                    say(.received(incoming.received), transfer: transfer, to: peer, outbox: outbox)
                }
                return
            }
            if incoming.phase == .installing { return }
        }
        guard manifest.format == snapshots.store.format else {
            let reason = "this node keeps its state as \(snapshots.store.format), the snapshot is \(manifest.format)"
            say(.finished(index: 0, reason: reason), transfer: transfer, to: peer, outbox: outbox)
            return
        }
        guard manifest.point.index > commit else {
            say(.finished(index: manifest.point.index, reason: ""), transfer: transfer, to: peer, outbox: outbox)
            return
        }
        let files = IncomingFiles(
            folder: snapshots.store.incomingFolder, fileSystem: snapshots.store.fileSystem, manifest: manifest,
            settings: snapshots.settings)
        snapshots.incoming = IncomingSnapshot(
            peer: peer, transfer: transfer, term: term, manifest: manifest, files: files, lastHeard: now)
        snapshots.leftoversSince = nil
        let earlier = snapshots.files
        snapshots.files = files
        snapshots.works.append(
            SnapshotWork(group: id) {
                earlier?.close()
                do throws(SnapshotFailure) {
                    return SnapshotOutcome(content: .prepared(files, .success(try files.prepare())))
                } catch {
                    return SnapshotOutcome(content: .prepared(files, .failure(error)))
                }
            })
    }

    func prepared(
        _ files: IncomingFiles, _ result: Result<[UInt64], SnapshotFailure>, now: UInt64, outbox: Outbox
    ) {
        guard let snapshots, var incoming = snapshots.incoming, incoming.files === files else { return }
        switch result {
        case .failure(let failure):
            failReceiving(failure.description, now: now, outbox: outbox)
        case .success(let sizes):
            incoming.lastHeard = now
            incoming.wanted = incoming.manifest.files.indices.compactMap { number in
                sizes[number] < incoming.manifest.files[number].byteCount
                    ? WantedFile(file: UInt32(number), offset: sizes[number]) : nil
            }
            incoming.offset = incoming.wanted.first?.offset ?? 0
            incoming.phase = .receiving
            snapshots.incoming = incoming
            if incoming.wanted.isEmpty { verify() } else { ask(outbox: outbox) }
        }
    }

    private func ask(outbox: Outbox) {
        guard let snapshots, let incoming = snapshots.incoming else { return }
        snapshots.incoming?.received = 0
        say(.want(incoming.remaining), transfer: incoming.transfer, to: incoming.peer, outbox: outbox)
    }

    func received(_ chunk: SnapshotChunk, transfer: UInt64, from peer: NodeID, now: UInt64, outbox: Outbox) {
        guard let snapshots, var incoming = snapshots.incoming, incoming.transfer == transfer, incoming.peer == peer,
            incoming.phase == .receiving
        else { return }
        incoming.lastHeard = now
        let verdict = incoming.take(chunk)
        let mustAsk = verdict == .gap && !incoming.reportedGap
        switch verdict {
        case .old: break
        case .gap: incoming.reportedGap = true
        case .expected:
            incoming.reportedGap = false
            incoming.outstanding += 1
        }
        snapshots.incoming = incoming
        if mustAsk { ask(outbox: outbox) }
        guard verdict == .expected else { return }
        let files = incoming.files
        snapshots.works.append(
            SnapshotWork(group: id, isIndependent: true) {
                do throws(SnapshotFailure) {
                    return SnapshotOutcome(content: .written(files, .success(try files.write(chunk))))
                } catch {
                    return SnapshotOutcome(content: .written(files, .failure(error)))
                }
            })
    }

    func written(_ files: IncomingFiles, _ result: Result<Int, SnapshotFailure>, now: UInt64, outbox: Outbox) {
        guard let snapshots, let incoming = snapshots.incoming, incoming.files === files else { return }
        switch result {
        case .failure(let failure):
            failReceiving(failure.description, now: now, outbox: outbox)
        case .success(let count):
            snapshots.counters.note(receivedBytes: count)
            snapshots.incoming?.outstanding -= 1
            snapshots.incoming?.received += UInt64(count)
            say(
                .received(incoming.received + UInt64(count)), transfer: incoming.transfer, to: incoming.peer,
                outbox: outbox)
            if incoming.position == incoming.wanted.count, incoming.outstanding == 1 { verify() }
        }
    }

    private func verify() {
        guard let snapshots, let incoming = snapshots.incoming else { return }
        snapshots.incoming?.phase = .verifying
        let (files, manifest, store) = (incoming.files, incoming.manifest, snapshots.store)
        snapshots.works.append(
            SnapshotWork(group: id) {
                do throws(SnapshotFailure) {
                    try files.verify()
                    // What the checksums say is only that the files are the sender's.
                    try store.check(manifest)
                    return SnapshotOutcome(content: .verified(files, nil))
                } catch {
                    return SnapshotOutcome(content: .verified(files, error))
                }
            })
    }

    /// All files are here: the core decides whether they are of use.
    func verified(_ files: IncomingFiles, _ failure: SnapshotFailure?, now: UInt64, outbox: Outbox) {
        guard let snapshots, let incoming = snapshots.incoming, incoming.files === files else { return }
        if let failure { return failReceiving(failure.description, now: now, outbox: outbox) }
        var message = Message(.snapshot, from: incoming.peer, to: core.id, term: incoming.term)
        message.index = incoming.manifest.point.index
        message.logTerm = incoming.manifest.point.term
        step(.receiveSnapshot(message, incoming.manifest.membership.configuration), outbox: outbox)
        if snapshots.isInstalling { return }
        let isKnown = commit >= incoming.manifest.point.index
        snapshots.incoming = nil
        snapshots.leftoversSince = now
        say(
            .finished(index: isKnown ? incoming.manifest.point.index : 0, reason: "it brings nothing new"),
            transfer: incoming.transfer, to: incoming.peer, outbox: outbox)
    }

    /// The core wants the snapshot: forgets the log in memory and has the rest done on the storage thread.
    func beginInstall(_ point: SnapshotPoint) {
        guard let snapshots, let incoming = snapshots.incoming, incoming.manifest.point == point else {
            preconditionFailure("the core asks only for the snapshot that it was just given")
        }
        submitWork()
        snapshots.incoming?.phase = .installing
        tail.truncate(from: 0)
        catchUp = CatchUpCache()
        applyBuffer = FrameBatch()
        wish.from = nil
        nextOffset = incoming.manifest.nextOffset
        // Whether these are part of the snapshot nobody here can tell.
        let covered = pending.filter { $0.index <= point.index }
        pending.removeAll { $0.index <= point.index }
        for entry in covered {
            fail(entry.proposals.map(\.proposal), .unknown("the node fell behind and received a snapshot"))
        }
        startWork()
        work?.install = SnapshotInstall(store: snapshots.store, manifest: incoming.manifest)
        workLast = (point.index, point.term)
        workInstalled = point
    }

    /// Log and state are those of the snapshot, durably.
    func finishInstall(_ point: SnapshotPoint, outbox: Outbox) {
        guard let snapshots, let incoming = snapshots.incoming else { return }
        snapshots.incoming = nil
        // With its buffers: every piece of it is done.
        snapshots.files = nil
        snapshots.counters.noteReceived()
        applied = point.index
        history = MembershipHistory(base: (point.index, incoming.manifest.membership))
        settledVersion = nil
        if !moments.isEmpty { reachMoments() }
        machine.didInstallSnapshot(through: applied)
        step(.applied(applied), outbox: outbox)
        say(
            .finished(index: point.index, reason: ""), transfer: incoming.transfer, to: incoming.peer, outbox: outbox)
    }

    private func failReceiving(_ reason: String, now: UInt64, outbox: Outbox) {
        guard let snapshots, let incoming = snapshots.incoming else { return }
        diagnostics?.report(.snapshotFailed, "\(id): a snapshot can't be received: \(reason)")
        snapshots.incoming = nil
        snapshots.leftoversSince = now
        snapshots.counters.noteFailed()
        say(.finished(index: 0, reason: reason), transfer: incoming.transfer, to: incoming.peer, outbox: outbox)
    }

    /// Gives up on a sender that has fallen silent; the files stay for the next try.
    func expireReceiving(now: UInt64) {
        guard let snapshots, let incoming = snapshots.incoming, incoming.phase == .receiving,
            now >= incoming.lastHeard + 2 * snapshots.settings.timeout
        else { return }
        diagnostics?.report(.snapshotFailed, "\(id): member \(incoming.peer) fell silent while it sent a snapshot")
        snapshots.incoming = nil
        snapshots.leftoversSince = now
        snapshots.counters.noteFailed()
    }
}
