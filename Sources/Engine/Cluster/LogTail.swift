// The newest part of one group's log, in memory: what is not durable yet, not applied yet, or likely to be asked for by
// a follower. Holds the very batches that go to disk and to peers; never copies a payload.
import Raft
import SegmentedLog

struct LogTail {
    /// Bytes that a group keeps for followers beyond what durability and apply need.
    static let keptBytesMax = 4 * 1024 * 1024
    /// The same for all groups of a node; each has its part of it.
    static let nodeBytesMax = 64 * 1024 * 1024
    /// The smallest part.
    static let keptBytesMin = 64 * 1024

    /// What each of so many groups keeps.
    static func keptBytes(ofGroups count: Int) -> Int {
        min(max(nodeBytesMax / max(count, 1), keptBytesMin), keptBytesMax)
    }

    private var batches: [FrameBatch] = []
    /// First live element of `batches`; the dead ones in front are removed in bulk.
    private var head = 0
    private(set) var byteCount = 0

    var firstIndex: LogIndex? { head < batches.count ? batches[head].firstIndex : nil }
    var lastIndex: LogIndex? { head < batches.count ? batches[batches.count - 1].lastIndex : nil }

    func contains(_ index: LogIndex) -> Bool {
        guard let first = firstIndex, let last = lastIndex else { return false }
        return index >= first && index <= last
    }

    mutating func append(_ batch: FrameBatch) {
        guard !batch.isEmpty else { return }
        if let last = lastIndex {
            precondition(batch.firstIndex == last + 1, "log tail must stay contiguous")
        }
        batches.append(batch)
        byteCount += batch.byteCount
    }

    /// Drops everything from `index` on.
    mutating func truncate(from index: LogIndex) {
        while head < batches.count, let last = batches.last {
            if last.lastIndex < index { return }
            batches.removeLast()
            byteCount -= last.byteCount
            if last.firstIndex < index {
                let kept = last.slice(from: last.firstIndex, through: index - 1)
                batches.append(kept)
                byteCount += kept.byteCount
                return
            }
        }
        if head >= batches.count {
            batches.removeAll()
            head = 0
        }
    }

    /// Forgets old batches, all of whose entries are at or below `index`, as far as more than `keptBytes` are held.
    mutating func evict(through index: LogIndex, keeping keptBytes: Int) {
        while head < batches.count - 1, byteCount > keptBytes, batches[head].lastIndex <= index {
            byteCount -= batches[head].byteCount
            batches[head] = FrameBatch()
            head += 1
        }
        if head > 64, head * 2 > batches.count {
            batches.removeFirst(head)
            head = 0
        }
    }

    /// The header of an entry that is in memory.
    func header(at index: LogIndex) -> FrameHeader? {
        guard contains(index) else { return nil }
        let batch = batches[position(of: index)]
        return batch.headers[Int(index - batch.firstIndex)]
    }

    /// Payload of an entry that is in memory.
    func payload(at index: LogIndex) -> ArraySlice<UInt8>? {
        guard contains(index) else { return nil }
        let batch = batches[position(of: index)]
        return batch.payload(Int(index - batch.firstIndex))
    }

    /// Headers from `from` on, at least one, at most `maxBytes`; nil when `from` is not in memory.
    func headers(from: LogIndex, through: LogIndex, maxBytes: Int) -> [EntryHeader]? {
        guard contains(from), let last = lastIndex else { return nil }
        var result: [EntryHeader] = []
        var bytes = 0
        var index = from
        var at = position(of: from)
        while index <= min(through, last) {
            let batch = batches[at]
            let header = EntryHeader(batch.headers[Int(index - batch.firstIndex)])
            bytes += Int(header.byteCount)
            if !result.isEmpty, bytes > maxBytes { break }
            result.append(header)
            if index == batch.lastIndex { at += 1 }
            index += 1
        }
        return result
    }

    /// The frames `from...through`, which must be in memory.
    func frames(from: LogIndex, through: LogIndex) -> FrameBatch? {
        guard contains(from), contains(through) else { return nil }
        let first = batches[position(of: from)]
        if first.lastIndex >= through {
            return first.firstIndex == from && first.lastIndex == through
                ? first : first.slice(from: from, through: through)
        }
        var joined = first.slice(from: from, through: first.lastIndex)
        var at = position(of: from) + 1
        while at < batches.count, batches[at].firstIndex <= through {
            let batch = batches[at]
            joined.append(
                contentsOf: batch.lastIndex <= through ? batch : batch.slice(from: batch.firstIndex, through: through))
            at += 1
        }
        return joined
    }

    /// Position of the batch that holds `index`. O(log n).
    private func position(of index: LogIndex) -> Int {
        var low = head
        var high = batches.count - 1
        while low < high {
            let middle = (low + high) / 2
            if batches[middle].lastIndex < index { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
