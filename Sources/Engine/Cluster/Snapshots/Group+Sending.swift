// The leader's side of a snapshot: make a checkpoint, offer it, send what the member lacks within a window and a rate,
// and tell the core how it ended. One transfer at a time; the core waits for the others' turns without harm.
import FileIO
import Raft
import SegmentedLog

extension Group {
    /// Members that need entries which the log no longer has.
    func needSnapshots(_ peers: [NodeID], outbox: Outbox) {
        guard let snapshots else {
            // Nothing drops entries of such a group, so nobody can need this.
            for peer in peers { step(.snapshotFinished(peer, index: 0), outbox: outbox) }
            return
        }
        for peer in peers {
            // Asked anew during a transfer: what runs belongs to an earlier leadership.
            if snapshots.outgoing?.peer == peer { snapshots.outgoing = nil }
            if !snapshots.waiting.contains(peer) { snapshots.waiting.append(peer) }
        }
    }

    /// Called with every tick.
    func tickSnapshots(now: UInt64, outbox: Outbox) {
        guard let snapshots else { return }
        if core.role != .leader {
            snapshots.waiting = []
            snapshots.outgoing = nil
        }
        if let outgoing = snapshots.outgoing {
            if now >= outgoing.lastHeard + snapshots.settings.timeout {
                diagnostics?.report(
                    .snapshotFailed, "\(id): member \(outgoing.peer) fell silent while it was sent a snapshot")
                endSending(index: 0, now: now, outbox: outbox)
            } else if now >= max(outgoing.lastHeard, outgoing.lastOffer) + snapshots.settings.retryInterval {
                offer(now: now, outbox: outbox)
            }
        }
        startSending(now: now, outbox: outbox)
        sendPieces(now: now)
        expireReceiving(now: now)
        compactIfDue(now: now)
        dropOldFiles(now: now)
    }

    private func startSending(now: UInt64, outbox: Outbox) {
        guard let snapshots, snapshots.outgoing == nil, let peer = snapshots.waiting.first, !snapshots.isTrimming,
            !snapshots.isCheckpointing
        else { return }
        guard let kept = snapshots.checkpoint, kept.manifest.point.index + 1 >= log.firstIndex,
            kept.manifest.point.index >= core.snapshot.index
        else {
            makeCheckpoint()
            return
        }
        snapshots.waiting.removeFirst()
        snapshots.nextTransfer &+= 1
        snapshots.checkpoint?.usedAt = now
        snapshots.outgoing = OutgoingSnapshot(
            peer: peer, transfer: snapshots.nextTransfer, folder: kept.folder, manifest: kept.manifest, lastHeard: now,
            lastOffer: now)
        offer(now: now, outbox: outbox)
    }

    private func makeCheckpoint() {
        guard let snapshots else { return }
        dropCheckpoint()
        snapshots.isCheckpointing = true
        let number = snapshots.nextCheckpoint
        snapshots.nextCheckpoint += 1
        let store = snapshots.store
        snapshots.works.append(
            SnapshotWork(group: id) {
                do throws(SnapshotFailure) {
                    return SnapshotOutcome(content: .checkpointed(.success(try store.checkpoint(number))))
                } catch {
                    return SnapshotOutcome(content: .checkpointed(.failure(error)))
                }
            })
    }

    func checkpointed(
        _ result: Result<SnapshotCheckpoint, SnapshotFailure>, now: UInt64, outbox: Outbox
    ) {
        guard let snapshots else { return }
        snapshots.isCheckpointing = false
        switch result {
        case .success(let made):
            snapshots.nextTransfer &+= 1
            let manifest = SnapshotManifest(
                format: snapshots.store.format, checkpoint: snapshots.nextTransfer, point: made.point,
                membership: history.membership(asOf: made.point.index), files: made.files)
            snapshots.checkpoint = KeptCheckpoint(folder: made.folder, manifest: manifest, usedAt: now)
            startSending(now: now, outbox: outbox)
        case .failure(let failure):
            diagnostics?.report(.checkpointFailed, "\(id): no checkpoint could be made for a snapshot: \(failure)")
            let waiting = snapshots.waiting
            snapshots.waiting = []
            for peer in waiting {
                snapshots.counters.noteFailed()
                step(.snapshotFinished(peer, index: 0), outbox: outbox)
            }
        }
    }

    private func offer(now: UInt64, outbox: Outbox) {
        guard let snapshots, let outgoing = snapshots.outgoing else { return }
        snapshots.outgoing?.lastOffer = now
        say(
            .offer(term: core.term, outgoing.manifest), transfer: outgoing.transfer, to: outgoing.peer, outbox: outbox)
    }

    func say(_ content: SnapshotMessage.Content, transfer: UInt64, to peer: NodeID, outbox: Outbox) {
        var writer = ByteWriter()
        PeerCodec.encode(SnapshotMessage(group: id, transfer: transfer, content: content), into: &writer)
        outbox.sendSnapshot(writer.bytes, to: peer)
    }

    /// The member says what it lacks.
    func answered(_ wanted: [WantedFile], now: UInt64) {
        guard let snapshots, var outgoing = snapshots.outgoing else { return }
        let isPlausible = wanted.allSatisfy { file in
            Int(file.file) < outgoing.manifest.files.count
                && file.offset < outgoing.manifest.files[Int(file.file)].byteCount
        }
        guard isPlausible else { return }
        outgoing.wanted = wanted
        outgoing.position = 0
        outgoing.offset = wanted.first?.offset ?? 0
        outgoing.attempt += 1
        outgoing.issued = 0
        outgoing.acknowledged = 0
        outgoing.lastHeard = now
        snapshots.outgoing = outgoing
        sendPieces(now: now)
    }

    func acknowledged(_ count: UInt64, now: UInt64) {
        guard let snapshots, let outgoing = snapshots.outgoing else { return }
        snapshots.outgoing?.lastHeard = now
        snapshots.outgoing?.acknowledged = max(outgoing.acknowledged, min(count, outgoing.issued))
        sendPieces(now: now)
    }

    /// Hands out pieces for reading, as far as window and rate allow.
    private func sendPieces(now: UInt64) {
        guard let snapshots, var outgoing = snapshots.outgoing else { return }
        let settings = snapshots.settings
        let elapsed = min(now - min(snapshots.refilledAt, now), 1_000_000_000)
        let room = UInt64(settings.windowBytes)
        // Whole seconds of a high rate are more than 64 bits hold.
        let earned = min(Double(settings.bytesPerSecond) * Double(elapsed) / 1e9, Double(room))
        snapshots.budget = min(snapshots.budget + UInt64(earned), room)
        snapshots.refilledAt = now
        while snapshots.budget >= UInt64(min(settings.chunkBytes, settings.windowBytes)),
            outgoing.issued - outgoing.acknowledged < room,
            let piece = outgoing.nextPiece(bytesMax: settings.chunkBytes)
        {
            snapshots.budget -= min(snapshots.budget, UInt64(piece.count))
            outgoing.issued += UInt64(piece.count)
            read(piece, of: outgoing)
        }
        snapshots.outgoing = outgoing
    }

    private func read(_ piece: (file: UInt32, offset: UInt64, count: Int), of outgoing: OutgoingSnapshot) {
        guard let snapshots else { return }
        let path = outgoing.folder + "/" + outgoing.manifest.files[Int(piece.file)].name
        let (fileSystem, group) = (snapshots.store.fileSystem, id)
        let (transfer, attempt, peer) = (outgoing.transfer, outgoing.attempt, outgoing.peer)
        snapshots.works.append(
            SnapshotWork(
                group: id,
                sending: { send in
                    do throws(SnapshotFailure) {
                        let message = try SnapshotFiles.chunk(
                            path, fileSystem, group: group, transfer: transfer, file: piece.file, offset: piece.offset,
                            count: piece.count)
                        send(message, peer)
                        return SnapshotOutcome(
                            content: .sent(transfer: transfer, attempt: attempt, .success(message.count)))
                    } catch {
                        return SnapshotOutcome(content: .sent(transfer: transfer, attempt: attempt, .failure(error)))
                    }
                }))
    }

    func pieceSent(
        transfer: UInt64, attempt: Int, _ result: Result<Int, SnapshotFailure>, now: UInt64, outbox: Outbox
    ) {
        guard let snapshots else { return }
        switch result {
        case .success(let count):
            snapshots.counters.note(sentBytes: count)
            if let outgoing = snapshots.outgoing, outgoing.transfer == transfer {
                outbox.noteSent(count, to: outgoing.peer)
            }
        case .failure(let failure):
            diagnostics?.report(.snapshotFailed, "\(id): a piece of a snapshot can't be read: \(failure)")
            guard let outgoing = snapshots.outgoing, outgoing.transfer == transfer, outgoing.attempt == attempt else {
                return
            }
            endSending(index: 0, now: now, outbox: outbox)
        }
    }

    /// The transfer is over: the member has everything up to `index`, or it failed (0).
    func endSending(index: LogIndex, now: UInt64, outbox: Outbox) {
        guard let snapshots, let outgoing = snapshots.outgoing else { return }
        snapshots.outgoing = nil
        snapshots.checkpoint?.usedAt = now
        if index > 0 { snapshots.counters.noteSent() } else { snapshots.counters.noteFailed() }
        step(.snapshotFinished(outgoing.peer, index: index), outbox: outbox)
    }

    func dropCheckpoint() {
        guard let snapshots, let kept = snapshots.checkpoint else { return }
        snapshots.checkpoint = nil
        removeLater(kept.folder)
    }

    func removeLater(_ folder: String) {
        guard let snapshots else { return }
        let fileSystem = snapshots.store.fileSystem
        let diagnostics = diagnostics
        snapshots.works.append(
            SnapshotWork(group: id) {
                // What stays is removed by the next checkpoint or the next start.
                do throws(FileIOError) {
                    try fileSystem.removeTree(folder)
                } catch {
                    diagnostics?.report(.trimFailed, "\(folder) can't be removed and takes space: \(error)")
                }
                return SnapshotOutcome(content: .removed)
            })
    }

    /// Removes what nobody has used for a while.
    private func dropOldFiles(now: UInt64) {
        guard let snapshots else { return }
        let lifetime = snapshots.settings.checkpointLifetime
        if let kept = snapshots.checkpoint, snapshots.outgoing == nil, snapshots.waiting.isEmpty,
            now >= kept.usedAt + lifetime
        {
            dropCheckpoint()
        }
        if let since = snapshots.leftoversSince, snapshots.incoming == nil {
            if since == 0 {
                snapshots.leftoversSince = now
            } else if now >= since + lifetime {
                snapshots.leftoversSince = nil
                removeLater(snapshots.store.incomingFolder)
            }
        }
    }
}
