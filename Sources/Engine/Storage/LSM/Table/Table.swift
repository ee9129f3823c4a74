// An open sorted table: footer, index and filter in memory, data blocks read and checked on demand. Immutable, so any
// number of threads may read it; the file stays open until the last reader lets go, also when its name is gone.
internal import FileIO

final class Table: Sendable {
    let file: any File
    let metadata: TableMetadata
    let identity: TableIdentity
    /// Nil when the table has none.
    let rangeDeletes: RangeTombstones?
    private let indexBuffer: BlockBuffer
    private let filterBuffer: BlockBuffer
    private let filter: UncheckedView<BloomFilterView>
    private let indexView: UncheckedView<BlockView>
    /// Where data blocks end.
    private let dataEnd: UInt64

    private let cache: BlockCache?

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
        let indexBuffer = try BlockBuffer(reading: footer.index, kind: .index, from: file, identity: identity)
        let filterBuffer = try BlockBuffer(reading: footer.filter, kind: .filter, from: file, identity: identity)
        guard let index = BlockView(indexBuffer.bytes) else {
            throw .corruption(path: path, position: footer.index.offset, detail: "the index contradicts itself")
        }
        guard let filter = BloomFilterView(filterBuffer.bytes) else {
            throw .corruption(path: path, position: footer.filter.offset, detail: "the filter contradicts itself")
        }
        rangeDeletes = try Self.readRangeDeletes(footer, file, identity)
        self.file = file
        self.cache = cache
        self.metadata = metadata
        self.identity = identity
        self.indexBuffer = indexBuffer
        self.filterBuffer = filterBuffer
        indexView = UncheckedView(index)
        self.filter = UncheckedView(filter)
        dataEnd = footer.filter.offset
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

    var blockCount: Int { indexView.value.count }

    /// The first block that can hold `key` or a greater one; ``blockCount`` when there is none.
    func firstBlock(for key: UnsafeRawBufferPointer) -> Int {
        indexView.value.lowerBound(key)
    }

    /// Bytes of index and filter, which stay in memory as long as the table is open.
    var pinnedBytes: Int { indexBuffer.bytes.count + filterBuffer.bytes.count }

    /// A data block, from the cache or else read and checked.
    /// - Parameter keeping: put it into the cache; compactions don't, as they read everything once.
    func readBlock(_ number: Int, keeping: Bool) throws(StorageError) -> BlockPin {
        var reader = ByteReader(indexView.value.value(number))
        guard let handle = BlockHandle(&reader), handle.lies(within: dataEnd) else {
            throw .corruption(path: file.path, position: dataEnd, detail: "index entry \(number) points nowhere")
        }
        if keeping, let pin = cache?.pin(table: identity.number, offset: handle.offset) { return pin }
        let block = try BlockBuffer(reading: handle, kind: .data, from: file, identity: identity)
        guard keeping, let cache else { return BlockPin(owning: block.take()) }
        // What contradicts itself must not be met again as known.
        guard BlockView(block.bytes) != nil else { throw contradiction(number) }
        return cache.insert(block.take(), table: identity.number, offset: handle.offset)
    }

    private func contradiction(_ number: Int) -> StorageError {
        .corruption(path: file.path, position: 0, detail: "data block \(number) contradicts itself")
    }

    /// A checked view of what ``readBlock(_:keeping:)`` gave; the pin must outlive it.
    func view(_ block: borrowing BlockPin, block number: Int) throws(StorageError) -> BlockView {
        guard let view = BlockView(block.bytes, isKnown: block.isKnown) else { throw contradiction(number) }
        return view
    }

    /// The newest version of `key` not newer than `sequence`.
    func find(
        _ key: UnsafeRawBufferPointer, hash: UInt64, sequence: UInt64
    ) throws(StorageError) -> Lookup {
        let covered = rangeDeletes?.newest(over: key, upTo: sequence) ?? 0
        let missing = covered > 0 ? Lookup.deleted : .absent
        guard filter.value.mayContain(hash) else { return missing }
        let number = firstBlock(for: key)
        guard number < blockCount else { return missing }
        let buffer = try readBlock(number, keeping: true)
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
        let buffer = try BlockBuffer(reading: footer.properties, kind: .properties, from: file, identity: identity)
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
