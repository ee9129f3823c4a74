// The newest writes, in memory and sorted, beside a hash index when the options ask for one. The log that fed it is
// durable elsewhere; once written out as a table it is dropped. One thread inserts, any thread reads.
internal import Memory

final class MemTable: Sendable {
    let list: SkipList
    let deletes = MemTableDeletes()
    private let index: MemTableIndex

    /// - Parameter hasIndex: see ``LSMOptions/memtableHashIndex``.
    init(capacity: Int, source: PageSource, seed: UInt64, hasIndex: Bool = false) throws(StorageError) {
        do throws(MemoryError) {
            list = try SkipList(capacity: capacity, source: source.serving(.memtable), seed: seed)
            index = try MemTableIndex(
                memtableBytes: hasIndex ? capacity : nil, source: source.serving(.memtableIndex))
        } catch {
            throw StorageError(error)
        }
    }

    /// The most bytes that a batch can take.
    static func bytesNeeded(for batch: WriteBatch) -> Int {
        batch.bytes.count + batch.count * SkipList.bytesNeeded(keyBytes: 0, valueBytes: 0)
    }

    /// Adds one version of a key.
    /// - Returns: false when there is no room.
    func insert(
        key: UnsafeRawBufferPointer, sequence: UInt64, kind: OperationKind, value: UnsafeRawBufferPointer
    ) -> Bool {
        let node = list.insertNode(key: key, sequence: sequence, kind: kind, value: value)
        guard node != 0 else { return false }
        if index.isOn { index.insert(key, hash: keyHash(key), node: node, in: list) }
        return true
    }

    /// Bytes of the hash index. Only of a memtable that takes no more writes.
    var indexBytes: Int { index.memoryBytes }

    /// False without an index, or after it has given up.
    var hasWorkingIndex: Bool { index.isOn }

    /// What the memtable knows about a key: a node of ``list``, or that it is deleted.
    enum Answer {
        case absent
        case deleted
        case found(SkipListNode)
    }

    /// - Parameter hash: ``keyHash(_:)`` of the key.
    func find(_ key: UnsafeRawBufferPointer, hash: UInt64, sequence: UInt64) -> Answer {
        let node = newest(key, hash: hash, sequence: sequence)
        if deletes.hasAny, isCovered(key, node, sequence: sequence) { return .deleted }
        guard node != 0 else { return .absent }
        return list.kind(of: node) == .delete ? .deleted : .found(node)
    }

    private static let versionStepsMax = 16

    @inline(__always)  // one caller
    private func newest(_ key: UnsafeRawBufferPointer, hash: UInt64, sequence: UInt64) -> SkipListNode {
        guard case .node(var node) = index.find(key, hash: hash, in: list) else {
            return list.find(key, sequence: sequence)
        }
        // Older versions follow in the list, newest first. Far down among many a search is quicker than the walk.
        var steps = 0
        while node != 0, list.sequence(of: node) > sequence {
            if steps == Self.versionStepsMax { return list.find(key, sequence: sequence) }
            steps &+= 1
            node = list.node(after: node)
            if node != 0, !list.holds(node, key) { return 0 }
        }
        return node
    }

    /// Out of line: only stores that delete ranges come here.
    @inline(never)
    private func isCovered(_ key: UnsafeRawBufferPointer, _ node: SkipListNode, sequence: UInt64) -> Bool {
        guard let covered = deletes.fragments?.newest(over: key, upTo: sequence), covered > 0 else { return false }
        return node == 0 || list.sequence(of: node) < covered
    }
}

/// A memtable that takes no more writes, with what the log had reached when it was sealed.
struct SealedMemTable: Sendable {
    let table: MemTable
    let applied: LogPosition
    let lastSequence: UInt64
}
