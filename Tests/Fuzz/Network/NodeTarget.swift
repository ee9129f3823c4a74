// A whole node on a disk in memory, and two peers that say anything: what honest peers say at first, then the same with
// numbers that are near the truth or nowhere near it, damaged bytes, old messages once more. A decoded message must
// survive its consumer: whatever peers say, the node neither traps nor stops, for its own disk is well.
import FileIO
import Memory
import Raft
import SimulatedIO
import Storage
import StrataNode
import Synchronization

@testable import Cluster
@testable import SegmentedLog

func nodeTargets() -> [FuzzTarget] {
    [
        FuzzTarget(name: "node") { mutator in
            let node = try FuzzNode(seed: mutator.next())
            defer { node.end() }
            for _ in 0..<(4 + mutator.below(16)) { node.step(&mutator) }
            if let failure = node.failure { preconditionFailure("peers have stopped the node: \(failure)") }
            if node.accepted == 0 { throw Refused() }
        }
    ]
}

/// Work for other threads, done when the node's turn is over.
private final class Later: BlockingExecutor {
    private let queue = Mutex<[@Sendable () -> Void]>([])

    func run(_ work: @escaping @Sendable () -> Void) {
        queue.withLock { $0.append(work) }
    }

    func runAll() {
        let works = queue.withLock { queue in
            defer { queue = [] }
            return queue
        }
        for work in works { work() }
    }
}

private final class FuzzNode: HostEnvironment {
    private let inbox = HostInbox {}
    private let executor = Later()
    private var node: Node?
    private var now: UInt64 = 1_000_000_000
    private var storage: [StorageWork] = []
    private var snapshots: [SnapshotWork] = []
    private var fetches: [LogFetch] = []
    /// What the node said, newest last.
    private var sent: [(peer: NodeID, messages: [UInt8])] = []
    private var said: [[UInt8]] = []
    private(set) var accepted = 0

    private static let me = PeerCorpus.founders[0]

    init(seed: UInt64) throws {
        var options = Node.Options(directory: "data", seed: seed)
        options.log.segmentBytes = 64 * 1024
        options.engine = seed.isMultiple(of: 2) ? .lsm : .hashlog
        options.storage.lsm.memtableBytes = 64 * 1024
        options.storage.lsm.allocator = .system
        options.storage.hashLog.allocator = .system
        options.settings.raft.leaseReads = seed.isMultiple(of: 3)
        node = try Node(
            cluster: FormedCluster(id: "fuzz", members: PeerCorpus.founders), member: Self.me, options: options,
            fileSystem: SimulatedFileSystem(seed: seed), inbox: inbox, environment: self, blocking: executor,
            clock: { 0 })
        turn()
    }

    var failure: String? { node?.host.failure }

    /// Gives back what the node holds, which knows this object as its environment.
    func end() {
        node?.host.close()
        node = nil
    }

    func submit(_ work: StorageWork) { storage.append(work) }
    func submit(_ work: SnapshotWork) { snapshots.append(work) }
    func fetch(_ fetch: LogFetch) { fetches.append(fetch) }
    func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID) { sent.append((peer, messages.joined)) }

    /// One turn of the host, and everything that it asked of others.
    private func turn() {
        guard let node else { return }
        for _ in 0..<3 {
            _ = node.host.poll(now: now)
            executor.runAll()
            let works = storage
            storage = []
            for work in works { inbox.post(.stored(work.perform()), lane: .control) }
            let reads = fetches
            fetches = []
            for read in reads { inbox.post(.fetched(read.perform())) }
            let others = snapshots
            snapshots = []
            for work in others {
                let outcome = work.perform { self.sent.append(($1, $0)) }
                inbox.post(.snapshot(work.group, outcome))
            }
            now += 100_000
        }
    }

    /// One thing that happens.
    func step(_ mutator: inout Mutator) {
        switch mutator.below(10) {
        case 0: now += UInt64(mutator.below(400)) * 1_000_000
        case 1: request(&mutator)
        case 2: answer(&mutator)
        case 3: replay(&mutator)
        case 4: lead(&mutator)
        case 5, 6: say(.append, &mutator)
        default: say(mutator.pick(Message.Kind.allCases), &mutator)
        }
        turn()
    }

    private func deliver(_ bytes: [UInt8], from peer: NodeID, _ mutator: inout Mutator) {
        if PeerCodec.decode(bytes) != nil { accepted += 1 }
        said.append(bytes)
        let lane = mutator.pick(PeerLane.allCases)
        if lane == .snapshot, let piece = ReceivedPiece(batch: bytes, from: PiecePool()) {
            inbox.post(.receivedPiece(from: peer, piece), lane: lane)
        } else {
            inbox.post(.received(from: peer, messages: bytes), lane: lane)
        }
    }

    private func peer(_ mutator: inout Mutator) -> NodeID { PeerCorpus.founders[1 + mutator.below(2)].id }

    private func group(_ mutator: inout Mutator) -> Group? {
        guard let host = node?.host else { return nil }
        return mutator.pick(host.groups)
    }

    /// A client of this node, or a peer that forwards for its own.
    private func request(_ mutator: inout Mutator) {
        guard let group = group(&mutator) else { return }
        var payload = mutator.pick(
            group.id == .controller ? PeerCorpus.controllerCommands : PeerCorpus.keyValueCommands)
        switch mutator.below(3) {
        case 0:
            mutator.reshape(&payload, donor: payload)
            var writer = ByteWriter()
            PeerCodec.encode(
                ForwardedProposal(
                    request: mutator.next(), group: group.id, operations: UInt32(mutator.number(near: 1) & 0xffff_ffff),
                    payload: payload), into: &writer)
            deliver(writer.bytes, from: peer(&mutator), &mutator)
        case 1: inbox.post(.read(group.id, ReadRequest(mutator.chance(1, in: 2) ? .lease : .confirmed) { _ in }))
        default:
            // Honest nodes check what their clients send, and send a partition only what is a batch.
            guard group.id == .controller || group.id == .keyValue else { return }
            inbox.post(.propose(group.id, Proposal(payload: payload) { _ in }))
        }
    }

    /// Grants, and otherwise confirms, everything that the node asked for; some of it wrongly.
    private func answer(_ mutator: inout Mutator) {
        let asked = sent
        sent = []
        for (peer, bytes) in asked.suffix(8) {
            for case .raft(let group, let question, _) in PeerCodec.decode(bytes) ?? [] {
                let kind: Message.Kind
                switch question.kind {
                case .preVote: kind = .preVoteResponse
                case .vote: kind = .voteResponse
                case .append: kind = .appendResponse
                case .heartbeat: kind = .heartbeatResponse
                case .readIndex: kind = .readIndexResponse
                default: continue
                }
                var answer = Message(kind, from: peer, to: Self.me.id, term: question.term)
                answer.index = question.index + UInt64(question.entries.count)
                answer.context = question.context
                if mutator.chance(1, in: 4) { distort(&answer, &mutator) }
                var writer = ByteWriter()
                PeerCodec.encode(answer, group: group, frames: FrameBatch(), into: &writer)
                deliver(writer.bytes, from: peer, &mutator)
            }
        }
    }

    /// Something that was said before, damaged or not; golden bytes.
    private func replay(_ mutator: inout Mutator) {
        var bytes = mutator.pick(said + PeerCorpus.batches)
        if mutator.chance(2, in: 3) { mutator.reshape(&bytes, donor: mutator.pick(PeerCorpus.batches)) }
        deliver(bytes, from: peer(&mutator), &mutator)
    }

    /// A peer leads honestly: the node has its entries, and they are committed.
    private func lead(_ mutator: inout Mutator) {
        guard let group = group(&mutator), group.core.lastIndex < 1000, group.core.term < 1 << 40 else { return }
        var message = Message(.append, from: peer(&mutator), to: Self.me.id, term: group.core.term + 1)
        message.index = group.core.lastIndex
        message.logTerm = group.core.lastTerm
        let frames = entries(of: group, after: message, &mutator)
        message.commit = message.index + UInt64(frames.headers.count)
        var writer = ByteWriter()
        PeerCodec.encode(message, group: group.id, frames: frames, into: &writer)
        deliver(writer.bytes, from: message.from, &mutator)
    }

    private func entries(of group: Group, after message: Message, _ mutator: inout Mutator) -> FrameBatch {
        var frames = FrameBatch()
        var offset = group.nextOffset
        for number in 0..<UInt64(1 + mutator.below(3)) {
            let index = message.index + 1 + number
            switch mutator.below(6) {
            case 0:
                frames.append(
                    kind: .noop, index: index, term: message.term, baseOffset: offset, recordCount: 0, payload: [])
            case 1:
                frames.append(
                    kind: .membership, index: index, term: message.term, baseOffset: offset, recordCount: 0,
                    payload: mutator.pick(PeerCorpus.changes))
            default:
                let isPartition = group.machine.frameKind == .records
                let payload: [UInt8] =
                    isPartition
                    ? [UInt8](repeating: 1, count: 70)
                    : mutator.pick(
                        group.id == .controller ? PeerCorpus.controllerCommands : PeerCorpus.keyValueCommands)
                frames.append(
                    kind: group.machine.frameKind, index: index, term: message.term, baseOffset: offset,
                    recordCount: isPartition ? 2 : 0, payload: payload)
                offset += isPartition ? 2 : 0
            }
        }
        return frames
    }

    /// A message that could be true, with some of its fields changed.
    private func say(_ kind: Message.Kind, _ mutator: inout Mutator) {
        guard let group = group(&mutator) else { return }
        if mutator.chance(1, in: 8) { return saySnapshot(group, &mutator) }
        if mutator.chance(1, in: 8) { return sendStore(group, &mutator) }
        var message = Message(kind, from: peer(&mutator), to: Self.me.id, term: group.core.term)
        message.index = group.core.lastIndex
        message.logTerm = group.core.lastTerm
        message.commit = group.core.commitIndex
        message.force = mutator.chance(1, in: 4)
        message.reject = mutator.chance(1, in: 3)
        message.context = mutator.number(near: 1)
        if mutator.chance(3, in: 4) { distort(&message, &mutator) }
        var frames = FrameBatch()
        if kind == .append, message.index < 1 << 61, mutator.chance(3, in: 4) {
            frames = entries(of: group, after: message, &mutator)
        }
        var writer = ByteWriter()
        PeerCodec.encode(message, group: group.id, frames: frames, into: &writer)
        if !frames.isEmpty, mutator.chance(1, in: 2) {
            var bytes = frames.bytes
            damageFrames(&bytes, &mutator)
            var changed = Array(writer.bytes.dropLast(frames.byteCount)) + bytes
            changed.put(UInt32(changed.count - 4), at: 0)
            writer.bytes = changed
        }
        deliver(writer.bytes, from: message.from, &mutator)
    }

    private func distort(_ message: inout Message, _ mutator: inout Mutator) {
        for _ in 0...mutator.below(2) {
            switch mutator.below(7) {
            case 0: message.term = mutator.number(near: message.term &+ 1)
            case 1: message.index = mutator.number(near: message.index)
            case 2: message.logTerm = mutator.number(near: message.logTerm)
            case 3: message.commit = mutator.number(near: message.commit)
            case 4: message.rejectHint = mutator.number(near: message.index)
            case 5: message.context = mutator.number(near: message.context)
            default: message.reject.toggle()
            }
        }
    }

    /// All of a snapshot: files whose checksums hold, of a store or not.
    private func sendStore(_ group: Group, _ mutator: inout Mutator) {
        guard let format = group.snapshots?.store.format, let kind = StorageEngineKind(rawValue: format),
            group.core.lastIndex < 1 << 40, group.core.term < 1 << 40
        else { return }
        let point = SnapshotPoint(index: group.core.lastIndex + 1 + UInt64(mutator.below(9)), term: group.core.term + 1)
        let position = LogPosition(index: point.index &- (mutator.chance(1, in: 8) ? 1 : 0), term: point.term)
        guard position.index > 0, var files = try? SentStore.files(kind, at: position, &mutator) else { return }
        if mutator.chance(2, in: 3) { SentStore.damage(&files, &mutator) }
        let manifest = SnapshotManifest(
            format: format, checkpoint: mutator.next(), point: point, membership: PeerCorpus.membership,
            files: files.map { .init(name: $0.name, byteCount: UInt64($0.bytes.count), checksum: crc($0.bytes[...])) })
        let (sender, transfer) = (peer(&mutator), mutator.next())
        func say(_ content: SnapshotMessage.Content) {
            deliver(PeerCorpus.encoded(content, group: group.id, transfer: transfer), from: sender, &mutator)
            turn()
        }
        say(.offer(term: point.term, manifest))
        for (number, file) in files.enumerated() where !file.bytes.isEmpty {
            say(
                .chunk(
                    SnapshotChunk(
                        file: UInt32(number), offset: 0, checksum: crc(file.bytes[...]), bytes: .slice(file.bytes[...]))
                ))
        }
    }

    /// A transfer that begins, goes on or ends, with a manifest that could be true.
    private func saySnapshot(_ group: Group, _ mutator: inout Mutator) {
        var content = mutator.pick(PeerCorpus.snapshotContents)
        if case .offer(_, var manifest) = content {
            manifest.format = group.snapshots?.store.format ?? "lsm"
            manifest.point.index = mutator.number(near: group.core.lastIndex &+ 5)
            manifest.point.term = mutator.number(near: group.core.term)
            manifest.nextOffset = mutator.number(near: 0)
            manifest.files[0].byteCount = mutator.number(near: 9)
            content = .offer(term: mutator.number(near: group.core.term &+ 1), manifest)
        }
        if case .want = content { content = .want([WantedFile(file: 0, offset: mutator.number(near: 0))]) }
        var bytes = PeerCorpus.encoded(content, group: group.id, transfer: 9)
        if mutator.chance(1, in: 4) { mutator.damage(&bytes, in: 5..<bytes.count) }
        deliver(bytes, from: peer(&mutator), &mutator)
    }
}
