// Writing: one batch of the log into the memtable, and sealing the memtable when it is full. No disk is touched here.
internal import Synchronization

extension LSMStore {
    public func apply(_ batch: WriteBatch, at position: LogPosition) throws(StorageError) -> UInt64 {
        try writer.withLock { (writer) throws(StorageError) -> UInt64 in
            if let failure = writer.failure { throw .readOnly(failure) }
            guard position.index > writer.applied.index else {
                throw .staleEntry(index: position.index, applied: writer.applied.index)
            }
            let needed = MemTable.bytesNeeded(for: batch)
            if writer.active.list.freeBytes < needed { try seal(&writer, roomFor: needed) }
            let first = writer.sequence + 1
            guard UInt64(batch.count) <= SkipList.sequenceMax - writer.sequence else {
                throw .exhausted("2^56 operations were applied, which is all: copy what is there into a new store")
            }
            insert(batch, into: writer.active, firstSequence: first)
            writer.sequence += UInt64(batch.count)
            writer.applied = position
            if sealedCount.load(ordering: .relaxed) > 0 { paceOverlap(filled: writer.active.list.usedBytes) }
            publishApplied(position, sequence: writer.sequence)
            return first
        }
    }

    private func insert(_ batch: WriteBatch, into memtable: MemTable, firstSequence: UInt64) {
        let bytes = batch.bytes.span.bytes
        let inserted = bytes.withUnsafeBytes { buffer in
            var cursor = BatchCursor(buffer)
            var sequence = firstSequence
            while let operation = cursor.next() {
                let fits =
                    operation.kind == .deleteRange
                    ? insertRange(operation, into: memtable, sequence: sequence)
                    : memtable.insert(
                        key: operation.key, sequence: sequence, kind: operation.kind, value: operation.value)
                precondition(fits, "a memtable has the room that was reckoned for the batch")
                sequence += 1
            }
            return cursor.seen
        }
        precondition(inserted == batch.count, "a batch holds as many operations as it counts")
    }

    /// The range's first key is deleted as such too, so that no memtable or table has range deletes and no entries.
    private func insertRange(_ operation: BatchOperation, into memtable: MemTable, sequence: UInt64) -> Bool {
        guard compare(operation.key, operation.value) < 0 else { return true }
        memtable.deletes.add(
            RangeTombstone(start: [UInt8](operation.key), end: [UInt8](operation.value), sequence: sequence))
        return memtable.insert(
            key: operation.key, sequence: sequence, kind: .delete, value: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// Starts a new memtable and leaves the old one, when it holds anything, to maintenance.
    func seal(_ writer: inout Writer, roomFor needed: Int) throws(StorageError) {
        let capacity = max(options.memtableBytes, needed + SkipList.overheadBytes)
        let fresh = try MemTable(
            capacity: capacity, source: pages, seed: options.seed &+ writer.memtables &* 0x9e37_79b9_7f4a_7c15,
            hasIndex: options.memtableHashIndex)
        let sealed = SealedMemTable(
            table: writer.active, applied: writer.applied, lastSequence: writer.sequence)
        replaceView { view in
            ReadView(
                active: fresh, sealed: sealed.table.list.isEmpty ? view.sealed : view.sealed + [sealed],
                version: view.version)
        }
        writer.active = fresh
        writer.memtables += 1
    }
}
