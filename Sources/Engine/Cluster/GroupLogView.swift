// A group's log as its core may ask about it: from memory or not at all. What is only on disk becomes a wish that the
// host turns into a fetch; the core is told when it was granted.
import Raft
import SegmentedLog

/// Collects the first position that a core wanted but memory did not have.
final class FetchWish {
    var from: LogIndex?
}

struct GroupLogView: LogReader {
    var tail: LogTail
    var catchUp: CatchUpCache
    var logStart: LogIndex
    var wish: FetchWish

    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead {
        if let headers = tail.headers(from: from, through: through, maxBytes: maxBytes) { return .entries(headers) }
        if let headers = catchUp.headers(from: from, through: through, maxBytes: maxBytes) { return .entries(headers) }
        if from < logStart { return .compacted }
        wish.from = min(wish.from ?? from, from)
        return .pending
    }
}

/// Entries read back from disk for followers that lag behind the ``LogTail``.
struct CatchUpCache {
    /// Batches kept; each is one fetch of at most ``fetchBytes``.
    static let batchesMax = 8
    static let fetchBytes = 1024 * 1024

    private var batches: [FrameBatch] = []

    mutating func insert(_ batch: FrameBatch) {
        guard !batch.isEmpty else { return }
        if batches.count == Self.batchesMax { batches.removeFirst() }
        batches.append(batch)
    }

    /// Forgets everything from `index` on.
    mutating func truncate(from index: LogIndex) {
        batches.removeAll { $0.lastIndex >= index }
    }

    func headers(from: LogIndex, through: LogIndex, maxBytes: Int) -> [EntryHeader]? {
        guard let batch = batches.last(where: { $0.firstIndex <= from && $0.lastIndex >= from }) else { return nil }
        var result: [EntryHeader] = []
        var bytes = 0
        for frame in batch.headers[Int(from - batch.firstIndex)...] where frame.index <= through {
            let header = EntryHeader(frame)
            bytes += Int(header.byteCount)
            if !result.isEmpty, bytes > maxBytes { break }
            result.append(header)
        }
        return result
    }

    func frames(from: LogIndex, through: LogIndex) -> FrameBatch? {
        batches.last { $0.firstIndex <= from && $0.lastIndex >= through }?.slice(from: from, through: through)
    }
}
