// Range deletes in an engine without order: the keys that a range covers are looked up by reading every key, and
// deleted one by one. Exact, and as slow as a scan; what deletes ranges often wants the LSM engine.

/// A batch whose range deletes have become deletes of single keys.
struct SingleKeyBatch {
    var batch = WriteBatch()
    /// Of each operation, counted from the sequence of the batch's first: all deletes of one range share one.
    var sequences: [UInt32] = []
}

extension HashLogStore {
    static func hasRangeDeletes(_ batch: WriteBatch) -> Bool {
        batch.bytes.withUnsafeBytes { bytes in
            var cursor = BatchCursor(bytes)
            while let operation = cursor.next() { if operation.kind == .deleteRange { return true } }
            return false
        }
    }

    /// - Throws: ``StorageError/invalidBatch(_:)`` when the deletes are more than one data file takes.
    /// - Complexity: O(keys of the store), all of them read.
    func singleKeys(_ batch: WriteBatch, _ state: borrowing State) throws(StorageError) -> SingleKeyBatch {
        let ranges = batch.filter { $0.kind == .deleteRange }
        var files = FrozenFiles(state)
        let living = try files.sortedKeys(state.index.liveSlots()) { key in ranges.contains { $0.covers(key) } }
        var result = SingleKeyBatch()
        /// Keys that earlier operations of this batch put.
        var own: Set<[UInt8]> = []
        for (number, operation) in batch.enumerated() {
            switch operation.kind {
            case .put:
                try result.batch.put(key: operation.key, value: operation.value)
                own.insert(operation.key)
            case .delete: try result.batch.delete(key: operation.key)
            case .deleteRange:
                for (key, _) in living where operation.covers(key) {
                    try result.batch.delete(key: key)
                    guard result.batch.bytes.count <= HashLogOptions.batchBytesMax else {
                        throw .invalidBatch(
                            "its range deletes hit more keys than one data file takes: use shorter ranges")
                    }
                }
                for key in own.sorted(by: { $0.lexicographicallyPrecedes($1) }) where operation.covers(key) {
                    try result.batch.delete(key: key)
                }
            }
            let added = result.batch.count - result.sequences.count
            result.sequences += repeatElement(UInt32(number), count: added)
        }
        return result
    }
}

extension WriteBatch.Operation {
    /// For a range delete: whether the key is in its range.
    fileprivate func covers(_ other: [UInt8]) -> Bool {
        !other.lexicographicallyPrecedes(key) && other.lexicographicallyPrecedes(value)
    }
}
