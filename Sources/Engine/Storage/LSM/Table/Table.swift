// An open sorted table: footer, index and filter in memory, data blocks read and checked on demand. Immutable, so any
// number of threads may read it; the file stays open until the last reader lets go, also when its name is gone.
internal import FileIO
internal import Memory

final class Table: Sendable {
    let file: any File
    let metadata: TableMetadata
    let identity: TableIdentity
    /// Nil when the table has none.
    let rangeDeletes: RangeTombstones?
    private let indexBuffer: BlockBuffer
    private let filterBuffer: BlockBuffer
    private let filter: UncheckedView<BloomFilterView>
    /// The whole index, or the index of its parts.
    private let indexView: UncheckedView<BlockView>
    /// For an index in parts: the number of the data block after each part's last.
    private let partEnds: [Int]?
    let blockCount: Int
    /// Where data blocks end.
    private let dataEnd: UInt64
    /// Where parts of the index end.
    private let partsEnd: UInt64

    private let cache: BlockCache?
    /// Who gives the blocks' memory.
    var allocator: AllocatorKind { cache?.allocator ?? .system }

    /// Opens a table and checks footer, index, filter and that the file is the one the manifest means.
    init(
        _ file: any File, metadata: TableMetadata, store: UInt64, cache: BlockCache? = nil
    ) throws(StorageError) {
        let path = file.path
        let size = try disk { () throws(FileIOError) in try file.size() }
        guard size == metadata.fileSize else {
            throw .corruption(
                path: path, position: min(size, metadata.fileSize),
                detail: "the file has \(size) bytes, the manifest says \(metadata.fileSize)")
        }
        let start = size - min(size, UInt64(TableFooter.bytes))
        let bytes = try disk { () throws(FileIOError) in try file.read(count: Int(size - start), at: start) }
        let footer = try TableFooter(bytes, path: path, fileSize: size)
        let identity = TableIdentity(store: store, number: metadata.number)
        guard footer.identity == identity else {
            throw .corruption(
                path: path, position: start,
                detail: "this is table \(footer.identity.number) of store \(footer.identity.store)")
        }
        let allocator = cache?.allocator ?? .system
        let indexBuffer = try BlockBuffer(
            reading: footer.index, kind: .index, from: file, identity: identity, allocator: allocator)
        let filterBuffer = try BlockBuffer(
            reading: footer.filter, kind: .filter, from: file, identity: identity, allocator: allocator)
        guard let index = BlockView(indexBuffer.bytes) else {
            throw .corruption(path: path, position: footer.index.offset, detail: "the index contradicts itself")
        }
        guard let filter = BloomFilterView(filterBuffer.bytes) else {
            throw .corruption(path: path, position: footer.filter.offset, detail: "the filter contradicts itself")
        }
        rangeDeletes = try Self.readRangeDeletes(footer, file, identity)
        partEnds = footer.hasIndexParts ? try Self.ends(index, path, footer.index) : nil
        blockCount = partEnds?.last ?? index.count
        self.file = file
        self.cache = cache
        self.metadata = metadata
        self.identity = identity
        self.indexBuffer = indexBuffer
        self.filterBuffer = filterBuffer
        indexView = UncheckedView(index)
        self.filter = UncheckedView(filter)
        dataEnd = footer.filter.offset
        partsEnd = footer.index.offset
    }

    /// Which data blocks the parts of the index cover: they have to follow each other without a gap.
    private static func ends(
        _ index: BlockView, _ path: String, _ handle: BlockHandle
    ) throws(StorageError) -> [Int] {
        var ends: [Int] = []
        for row in 0..<index.count {
            let value = index.value(row)
            var reader = ByteReader(value, from: BlockHandle.encodedBytes)
            guard value.count == IndexBuilder.partValueBytes, let end = reader.read(UInt32.self),
                Int(end) > ends.last ?? 0
            else {
                throw .corruption(
                    path: path, position: handle.offset, detail: "part \(row) of the index covers no blocks")
            }
            ends.append(Int(end))
        }
        return ends
    }

    private static func readRangeDeletes(
        _ footer: TableFooter, _ file: any File, _ identity: TableIdentity
    ) throws(StorageError) -> RangeTombstones? {
        if footer.rangeDeletes == .none { return nil }
        let buffer = try BlockBuffer(
            reading: footer.rangeDeletes, kind: .rangeDeletes, from: file, identity: identity)
        defer { extendLifetime(buffer) }
        guard let deletes = RangeTombstones(decoding: buffer.bytes) else {
            throw .corruption(
                path: file.path, position: footer.rangeDeletes.offset, detail: "the range deletes make no sense")
        }
        return deletes
    }

    /// The first block that can hold `key` or a greater one; ``blockCount`` when there is none.
    func firstBlock(
        for key: UnsafeRawBufferPointer, keeping: Bool, _ walk: inout TableWalk
    ) throws(StorageError) -> Int {
        let row = indexView.value.lowerBound(key)
        guard row < indexView.value.count else { return blockCount }
        guard partEnds != nil else { return row }
        try hold(row, keeping: keeping, &walk)
        guard let part = walk.part else { return blockCount }
        return walk.partStart + part.lowerBound(key)
    }

    /// Parts that the index consists of; 0 when it is one block.
    var indexParts: Int { partEnds?.count ?? 0 }

    /// Bytes of index and filter, which stay in memory as long as the table is open. Parts of an index don't.
    var pinnedBytes: Int { indexBuffer.bytes.blockHeldBytes + filterBuffer.bytes.blockHeldBytes }

    /// A data block, from the cache or else read and checked.
    /// - Parameters:
    ///   - keeping: put it into the cache; compactions don't, as they read everything once.
    ///   - walk: what the caller holds of this or another table.
    func readBlock(_ number: Int, keeping: Bool, _ walk: inout TableWalk) throws(StorageError) -> BlockPin {
        let handle = try handle(number, keeping: keeping, &walk)
        if keeping { return try pin(handle, .data, number) }
        return BlockPin(
            owning: try BlockBuffer(reading: handle, kind: .data, from: file, identity: identity, allocator: allocator)
                .take())
    }

    private func handle(
        _ number: Int, keeping: Bool, _ walk: inout TableWalk
    ) throws(StorageError) -> BlockHandle {
        var value = UnsafeRawBufferPointer(start: nil, count: 0)
        if let ends = partEnds {
            if !walk.holds(number, of: self) {
                try hold(ends.partitioningIndex { $0 > number }, keeping: keeping, &walk)
            }
            if let part = walk.part { value = part.value(number - walk.partStart) }
        } else {
            value = indexView.value.value(number)
        }
        var reader = ByteReader(value)
        guard let handle = BlockHandle(&reader), handle.lies(within: dataEnd) else {
            throw .corruption(path: file.path, position: dataEnd, detail: "index entry \(number) points nowhere")
        }
        return handle
    }

    /// Makes `walk` hold a part of the index.
    private func hold(_ row: Int, keeping: Bool, _ walk: inout TableWalk) throws(StorageError) {
        guard let ends = partEnds else { return }
        let start = row > 0 ? ends[row - 1] : 0
        if walk.holds(start, of: self) { return }
        var reader = ByteReader(indexView.value.value(row))
        guard let handle = BlockHandle(&reader), handle.offset >= dataEnd, handle.lies(within: partsEnd) else {
            throw .corruption(path: file.path, position: partsEnd, detail: "part \(row) of the index lies nowhere")
        }
        let pin: BlockPin
        if keeping {
            pin = try self.pin(handle, .indexPart, row)
        } else {
            let block = try BlockBuffer(
                reading: handle, kind: .indexPart, from: file, identity: identity, allocator: allocator)
            pin = BlockPin(owning: block.take())
        }
        guard let view = BlockView(pin.bytes, isKnown: pin.isKnown), view.count == ends[row] - start else {
            throw .corruption(
                path: file.path, position: handle.offset, detail: "part \(row) of the index contradicts itself")
        }
        walk.hold(pin, view, start: start, of: identity.number)
    }

    /// A block in the cache, read and put there when it isn't.
    private func pin(_ handle: BlockHandle, _ kind: BlockKind, _ number: Int) throws(StorageError) -> BlockPin {
        if let pin = cache?.pin(table: identity.number, offset: handle.offset) { return pin }
        let block = try BlockBuffer(reading: handle, kind: kind, from: file, identity: identity, allocator: allocator)
        guard let cache else { return BlockPin(owning: block.take()) }
        // What contradicts itself must not be met again as known.
        guard BlockView(block.bytes) != nil else { throw contradiction(kind, number) }
        return cache.insert(
            block.take(), table: identity.number, offset: handle.offset, isHigh: kind == .indexPart)
    }

    private func contradiction(_ kind: BlockKind, _ number: Int) -> StorageError {
        .corruption(path: file.path, position: 0, detail: "\(kind) block \(number) contradicts itself")
    }

    /// A checked view of what ``readBlock(_:keeping:_:)`` gave; the pin must outlive it.
    func view(_ block: borrowing BlockPin, block number: Int) throws(StorageError) -> BlockView {
        guard let view = BlockView(block.bytes, isKnown: block.isKnown) else { throw contradiction(.data, number) }
        return view
    }

    func mayContain(_ hash: UInt64) -> Bool { filter.value.mayContain(hash) }

    /// The block that can hold `key`; nil when the cache has it, or nothing can be kept.
    func missingBlock(_ key: UnsafeRawBufferPointer) throws(StorageError) -> BlockRead? {
        guard let cache else { return nil }
        var walk = TableWalk()
        let number = try firstBlock(for: key, keeping: true, &walk)
        guard number < blockCount else { return nil }
        let handle = try handle(number, keeping: true, &walk)
        if cache.pin(table: identity.number, offset: handle.offset) != nil { return nil }
        return BlockRead(table: self, number: number, handle: handle)
    }

    /// Puts a block that was read with others into the cache. One that is damaged is left to who reads it alone.
    func keep(_ memory: UnsafeMutableRawBufferPointer, count: Int, of read: BlockRead) {
        guard let cache else { return UnsafeRawBufferPointer(memory).freeBlock() }
        do throws(StorageError) {
            let block = try BlockBuffer(
                taking: memory, count: count, of: read.handle, kind: .data, path: file.path, identity: identity)
            guard BlockView(block.bytes) != nil else { return }
            _ = cache.insert(block.take(), table: identity.number, offset: read.handle.offset)
        } catch {}
    }

    /// The newest version of `key` not newer than `sequence`.
    func find(
        _ key: UnsafeRawBufferPointer, hash: UInt64, sequence: UInt64
    ) throws(StorageError) -> Lookup {
        let covered = rangeDeletes?.newest(over: key, upTo: sequence) ?? 0
        let missing = covered > 0 ? Lookup.deleted : .absent
        guard filter.value.mayContain(hash) else { return missing }
        var walk = TableWalk()
        let number = try firstBlock(for: key, keeping: true, &walk)
        guard number < blockCount else { return missing }
        let buffer = try readBlock(number, keeping: true, &walk)
        defer { extendLifetime(buffer) }
        let view = try view(buffer, block: number)
        guard let row = view.find(key, hash: hash, trailer: sequence << 8 | 0xff) else { return missing }
        if view.trailer(row) >> 8 < covered { return .deleted }
        if view.trailer(row) & 0xff == UInt64(OperationKind.delete.rawValue) { return .deleted }
        return .found([UInt8](view.value(row)))
    }

    /// Reads the properties block.
    func properties() throws(StorageError) -> TableProperties {
        let start = metadata.fileSize - UInt64(TableFooter.bytes)
        let bytes = try disk { () throws(FileIOError) in try file.read(count: TableFooter.bytes, at: start) }
        let footer = try TableFooter(bytes, path: file.path, fileSize: metadata.fileSize)
        let buffer = try BlockBuffer(
            reading: footer.properties, kind: .properties, from: file, identity: identity, allocator: allocator)
        defer { extendLifetime(buffer) }
        guard let properties = TableProperties(buffer.bytes) else {
            throw .corruption(
                path: file.path, position: footer.properties.offset, detail: "the properties contradict themselves")
        }
        return properties
    }
}

/// What one source knows about a key.
enum Lookup {
    case absent
    case deleted
    case found([UInt8])
}

/// Carries a view of bytes that never change across threads.
private struct UncheckedView<View>: @unchecked Sendable {
    // @unchecked: the views only read the table's own immutable buffers, which live exactly as long.
    let value: View
    init(_ value: View) { self.value = value }
}
