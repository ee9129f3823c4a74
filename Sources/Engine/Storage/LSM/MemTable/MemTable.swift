// The newest writes, in memory and sorted. The log that fed it is durable elsewhere; once written out as a table it is
// dropped. One thread inserts, any thread reads.
internal import Memory

final class MemTable: Sendable {
    let list: SkipList
    let deletes = MemTableDeletes()

    init(capacity: Int, source: PageSource, seed: UInt64) throws(StorageError) {
        do throws(MemoryError) {
            list = try SkipList(capacity: capacity, source: source, seed: seed)
        } catch {
            throw StorageError(error)
        }
    }

    /// The most bytes that a batch can take.
    static func bytesNeeded(for batch: WriteBatch) -> Int {
        batch.bytes.count + batch.count * SkipList.bytesNeeded(keyBytes: 0, valueBytes: 0)
    }

    func find(_ key: UnsafeRawBufferPointer, sequence: UInt64) -> Lookup {
        let node = list.find(key, sequence: sequence)
        if let covered = deletes.fragments?.newest(over: key, upTo: sequence), covered > 0,
            node == 0 || list.sequence(of: node) < covered
        {
            return .deleted
        }
        guard node != 0 else { return .absent }
        return list.kind(of: node) == .delete ? .deleted : .found([UInt8](list.value(of: node)))
    }
}

/// A memtable that takes no more writes, with what the log had reached when it was sealed.
struct SealedMemTable: Sendable {
    let table: MemTable
    let applied: LogPosition
    let lastSequence: UInt64
}
