// What one group has under way around snapshots: the transfer to a member that lags, the transfer from a leader, the
// cut of its log. State only; Group+Sending, Group+Receiving and Group+Compaction drive it, on the host's thread.
import Raft
import SegmentedLog

final class GroupSnapshots {
    let store: any SnapshotStore
    let settings: SnapshotSettings
    let counters: SnapshotCounters
    /// Work that the host hands to the thread for background work at the end of its turn.
    var works: [SnapshotWork] = []

    // Sending.
    /// Members that wait for their turn.
    var waiting: [NodeID] = []
    var outgoing: OutgoingSnapshot? {
        didSet {
            if (oldValue == nil) != (outgoing == nil) { store.sending(outgoing != nil) }
        }
    }
    var checkpoint: KeptCheckpoint?
    var isCheckpointing = false
    var nextCheckpoint: UInt64 = 1
    var nextTransfer: UInt64
    /// Bytes that may be read for sending now, as of ``refilledAt``.
    var budget: UInt64 = 0
    var refilledAt: UInt64 = 0

    // Receiving.
    var incoming: IncomingSnapshot?
    /// Of the newest transfer, also when it is over: pieces of it may still be under way.
    var files: IncomingFiles?
    /// Since when received files lie around unused.
    var leftoversSince: UInt64? = 0

    // Compaction.
    var isTrimming = false
    var nextCompaction: UInt64 = 0

    init(store: any SnapshotStore, settings: SnapshotSettings, counters: SnapshotCounters, seed: UInt64) {
        self.store = store
        self.settings = settings
        self.counters = counters
        nextTransfer = seed
    }

    /// A received snapshot is taking the place of log and state.
    var isInstalling: Bool { incoming?.phase == .installing }
}

struct KeptCheckpoint {
    var folder: String
    var manifest: SnapshotManifest
    var usedAt: UInt64
}

/// A snapshot on its way to a member.
struct OutgoingSnapshot {
    var peer: NodeID
    var transfer: UInt64
    var folder: String
    var manifest: SnapshotManifest
    /// What the member lacks, and how far it was handed out for reading.
    var wanted: [WantedFile] = []
    var position = 0
    var offset: UInt64 = 0
    /// Counts the answers to offers; pieces read for an earlier one are void.
    var attempt = 0
    /// Bytes handed out for reading, and acknowledged, since the last answer.
    var issued: UInt64 = 0
    var acknowledged: UInt64 = 0
    var lastHeard: UInt64
    var lastOffer: UInt64

    /// The next piece to read; nil when all were handed out.
    mutating func nextPiece(bytesMax: Int) -> (file: UInt32, offset: UInt64, count: Int)? {
        guard position < wanted.count else { return nil }
        let file = wanted[position].file
        let left = manifest.files[Int(file)].byteCount - offset
        let count = Int(min(UInt64(bytesMax), left))
        let piece = (file: file, offset: offset, count: count)
        offset += UInt64(count)
        if count == Int(left) {
            position += 1
            if position < wanted.count { offset = wanted[position].offset }
        }
        return piece
    }
}

/// A snapshot on its way here.
struct IncomingSnapshot {
    enum Phase { case preparing, receiving, verifying, installing }
    var peer: NodeID
    var transfer: UInt64
    /// The leader's when it made the offer.
    var term: Term
    var manifest: SnapshotManifest
    var files: IncomingFiles
    var phase = Phase.preparing
    /// What was asked for, and the place that the next piece must have.
    var wanted: [WantedFile] = []
    var position = 0
    var offset: UInt64 = 0
    /// Pieces being written.
    var outstanding = 0
    /// Bytes written since ``wanted`` was last told.
    var received: UInt64 = 0
    /// A missing piece was reported, and has not come yet.
    var reportedGap = false
    var lastHeard: UInt64

    /// What is still to come, in order.
    var remaining: [WantedFile] {
        guard position < wanted.count else { return [] }
        return [WantedFile(file: wanted[position].file, offset: offset)] + wanted[(position + 1)...]
    }

    enum Verdict { case expected, old, gap }

    /// Whether a piece is the next one. Moves on when it is.
    mutating func take(_ chunk: SnapshotChunk) -> Verdict {
        guard let place = wanted.firstIndex(where: { $0.file == chunk.file }), chunk.bytes.count > 0 else {
            return .old
        }
        if place < position || place == position && chunk.offset < offset { return .old }
        guard place == position, chunk.offset == offset else { return .gap }
        let end = offset + UInt64(chunk.bytes.count)
        let size = manifest.files[Int(chunk.file)].byteCount
        guard end <= size else { return .old }
        offset = end
        if end == size {
            position += 1
            if position < wanted.count { offset = wanted[position].offset }
        }
        return .expected
    }
}
