// Reads of many keys at once: the blocks that are not in memory are asked of the disk together, so that a device and a
// backend with depth work on all of them at the same time. What comes back is what as many single reads would give.
internal import FileIO

extension LSMStore {
    /// The values of several keys as of one moment, in the order of the keys.
    public func multiGet(_ keys: [[UInt8]], at snapshot: Snapshot? = nil) throws(StorageError) -> [[UInt8]?] {
        let view = currentView()
        let sequence = snapshot?.sequence ?? lastSequence
        var values: [[UInt8]?] = []
        values.reserveCapacity(keys.count)
        var start = 0
        while start < keys.count {
            let group = keys[start..<min(start + Self.groupMax, keys.count)]
            if group.count > 1 { try fetch(group, view, sequence: sequence) }
            for key in group {
                values.append(
                    try key.withRawBytes { (key) throws(StorageError) in try view.find(key, sequence: sequence) })
            }
            start += Self.groupMax
        }
        return values
    }

    /// Blocks of one batch: what most devices take at a time, and half a megabyte of memory.
    private static var groupMax: Int { 128 }

    /// Brings the first block that each key has to look into into the cache. A key whose filter misled needs another
    /// one and reads it alone; so does one whose block could not be read here, and gets the error then.
    private func fetch(_ keys: ArraySlice<[UInt8]>, _ view: ReadView, sequence: UInt64) throws(StorageError) {
        var reads: [BlockRead] = []
        for key in keys {
            let read = try key.withRawBytes { (key) throws(StorageError) -> BlockRead? in
                let hash = keyHash(key)
                guard case .absent = view.recent(key, hash: hash, sequence: sequence) else { return nil }
                return try view.version.missingBlock(key, hash: hash)
            }
            if let read, !reads.contains(where: { $0.isSame(as: read) }) { reads.append(read) }
        }
        guard reads.count > 1 else { return }
        var memory: [UnsafeMutableRawBufferPointer] = []
        do throws(StorageError) {
            for read in reads { memory.append(try BlockBuffer.memory(for: read.handle, read.table.allocator)) }
        } catch {
            for piece in memory { UnsafeRawBufferPointer(piece).freeBlock() }
            throw error
        }
        var operations = zip(reads, memory).map { read, memory in
            FileOperation(read.table.file, .read(into: memory, at: read.handle.offset))
        }
        fileSystem.perform(&operations)
        for ((read, memory), operation) in zip(zip(reads, memory), operations) {
            read.table.keep(memory, count: (try? operation.outcome?.get()) ?? 0, of: read)
        }
    }
}

/// A data block that is not in the cache.
struct BlockRead {
    let table: Table
    let number: Int
    let handle: BlockHandle

    func isSame(as other: BlockRead) -> Bool { table === other.table && number == other.number }
}

extension Version {
    /// The block that a search for `key` looks into first; nil when it is in the cache, or when no filter knows the
    /// key.
    func missingBlock(_ key: UnsafeRawBufferPointer, hash: UInt64) throws(StorageError) -> BlockRead? {
        for table in levels[0] where table.metadata.covers(key) && table.mayContain(hash) {
            return try table.missingBlock(key)
        }
        for tables in levels[1...] where !tables.isEmpty {
            let number = tables.partitioningIndex { !$0.metadata.lies(before: key) }
            guard number < tables.count, tables[number].metadata.covers(key), tables[number].mayContain(hash) else {
                continue
            }
            return try tables[number].missingBlock(key)
        }
        return nil
    }
}
