// Writes one sorted table: data blocks as they fill, then filter, index, properties and footer. The file is complete
// and synced when `finish` returns; before that it is garbage that recovery removes. It never sorts and never drops
// anything.
internal import CEngine
internal import FileIO

/// Shape of new tables.
struct TableOptions: Hashable, Sendable {
    /// Bytes of a data block before its trailer; a single larger entry makes a larger block.
    var blockBytes: Int
    var bloomBitsPerKey: Int
    /// Of data blocks; a block that it does not make smaller by an eighth stays as it is.
    var compression = BlockCompression.none
    /// An index that would be larger is cut into parts of ``blockBytes`` with an index of their own.
    var indexBytes = 128 << 10
}

struct TableBuilder: ~Copyable {
    private let file: any File
    private let identity: TableIdentity
    private let options: TableOptions

    private var block = BlockBuilder()
    private var index = IndexBuilder()
    /// Finished bytes that are not in the file yet.
    private var pending: [UInt8] = []
    /// The block that was finished last; kept for its memory.
    private var finished: [UInt8] = []
    /// Where `pending` goes in the file.
    private var position: UInt64 = 0
    private var fileChecksum: UInt32 = 0
    /// A finished block whose separator waits for the next key.
    private var waiting: BlockHandle?
    private var lastKey = KeyMemory()
    private var lastTrailer: UInt64 = 0
    private var lastHash: UInt64 = 0
    private var hashes = KeyHashes()
    private var properties = TableProperties()
    private var rangeDeletes: [RangeTombstone] = []

    /// Bytes gathered before one write call.
    private static let writeBytes = 1 << 20

    init(file: any File, identity: TableIdentity, options: TableOptions) {
        self.file = file
        self.identity = identity
        self.options = options
        pending.reserveCapacity(Self.writeBytes + 2 * options.blockBytes)
    }

    /// Bytes of the file so far.
    var bytesWritten: UInt64 { position + UInt64(pending.count) }

    /// True when `key` is not the key that was added last.
    func startsNewKey(_ key: UnsafeRawBufferPointer) -> Bool {
        properties.entries == 0 || compare(lastKey.bytes, key) != 0
    }

    /// Adds one version. Keys ascend, versions of one key descend.
    /// - Throws: corruption when they don't: tables that a checksum vouches for can still be wrong in this.
    mutating func add(
        key: UnsafeRawBufferPointer, trailer: UInt64, value: UnsafeRawBufferPointer
    ) throws(StorageError) {
        let order = properties.entries == 0 ? -1 : compare(lastKey.bytes, key)
        guard order < 0 || order == 0 && trailer < lastTrailer else {
            throw .corruption(
                path: file.path, position: bytesWritten, detail: "the tables that are merged into it are not in order")
        }
        // All versions of a key stay in one block, so that the index needs no versions.
        if order < 0 {
            if !block.isEmpty, block.bytes(adding: key.count, value.count) > options.blockBytes {
                try finishBlock()
            }
            if let handle = waiting { addToIndex(handle, before: key) }
            lastHash = keyHash(key)
            hashes.append(lastHash)
            lastKey.set(key)
        }
        block.add(key: key, hash: lastHash, trailer: trailer, value: value)
        lastTrailer = trailer
        properties.count(key: key, trailer: trailer, value: value)
    }

    mutating func add(rangeDeletes added: [RangeTombstone]) {
        rangeDeletes += added
    }

    /// Writes what is left, syncs the file, and says what is in it.
    mutating func finish() throws(StorageError) -> TableSummary {
        precondition(properties.entries > 0, "a table holds at least one entry")
        try finishBlock()
        if let handle = waiting { addToIndex(handle, before: nil) }
        properties.largest = [UInt8](lastKey.bytes)
        let filter = try append(BloomFilter.build(hashes, bitsPerKey: options.bloomBitsPerKey), .filter)
        let hasParts = index.bytes > options.indexBytes
        let indexHandle = try hasParts ? appendIndexParts() : append(index.block(index.rows), .index)
        let rangeHandle =
            rangeDeletes.isEmpty ? BlockHandle.none : try append(RangeTombstones.encode(rangeDeletes), .rangeDeletes)
        let propertiesHandle = try append(properties.encode(), .properties)
        let footer = TableFooter(
            identity: identity, filter: filter, index: indexHandle, rangeDeletes: rangeHandle,
            properties: propertiesHandle, fileSize: bytesWritten + UInt64(TableFooter.bytes),
            hasIndexParts: hasParts)
        pending.append(contentsOf: footer.encode())
        try writePending()
        try disk { () throws(FileIOError) in try file.sync() }
        return TableSummary(
            properties: properties, fileSize: position, checksum: fileChecksum, rangeDeletes: rangeDeletes)
    }

    private mutating func finishBlock() throws(StorageError) {
        finished.removeAll(keepingCapacity: true)
        block.finish(into: &finished)
        waiting = try append(finished, .data)
        properties.blocks += 1
    }

    /// Enters a block under the shortest key that is at least its last key and less than the next block's first.
    private mutating func addToIndex(_ handle: BlockHandle, before next: UnsafeRawBufferPointer?) {
        let last = [UInt8](lastKey.bytes)
        index.add(next.map { Self.separator(between: last, and: $0) } ?? last, handle)
        waiting = nil
    }

    /// Writes the index in parts and then the index of the parts, whose place it returns.
    private mutating func appendIndexParts() throws(StorageError) -> BlockHandle {
        var top = BlockBuilder()
        for part in index.parts(of: options.blockBytes) {
            let handle = try append(index.block(part), .indexPart)
            index.key(part.upperBound - 1).withUnsafeBytes { key in
                IndexBuilder.partValue(handle, end: part.upperBound).withUnsafeBytes { value in
                    top.add(key: key, hash: 0, trailer: 0, value: value)
                }
            }
        }
        var bytes: [UInt8] = []
        top.finish(into: &bytes)
        return try append(bytes, .index)
    }

    static func separator(between last: [UInt8], and next: UnsafeRawBufferPointer) -> [UInt8] {
        var shared = 0
        while shared < last.count, shared < next.count, last[shared] == next[shared] { shared += 1 }
        guard shared < last.count, shared < next.count, last[shared] < 0xff, last[shared] + 1 < next[shared] else {
            return last
        }
        return Array(last[..<shared]) + [last[shared] + 1]
    }

    private mutating func append(_ bytes: [UInt8], _ kind: BlockKind) throws(StorageError) -> BlockHandle {
        precondition(bytes.count <= BlockFrame.sizeMax, "a block stays below \(BlockFrame.sizeMax) bytes")
        let packed = kind == .data ? BlockCodec.pack(bytes, options.compression) : nil
        let bytes = packed ?? bytes
        let handle = BlockHandle(offset: bytesWritten, size: UInt32(bytes.count))
        let trailer = bytes.withUnsafeBytes {
            BlockFrame.trailer(
                of: $0, kind: kind, compression: packed == nil ? .none : options.compression, identity: identity,
                offset: handle.offset)
        }
        pending.append(contentsOf: bytes)
        pending.append(contentsOf: trailer)
        if pending.count >= Self.writeBytes { try writePending() }
        return handle
    }

    private mutating func writePending() throws(StorageError) {
        try disk { () throws(FileIOError) in try file.write(bytes: pending, at: position) }
        fileChecksum = strata_crc32c(fileChecksum, pending, pending.count)
        position += UInt64(pending.count)
        pending.removeAll(keepingCapacity: true)
    }
}

/// What `finish` says about a table.
struct TableSummary {
    var properties: TableProperties
    var fileSize: UInt64
    /// CRC-32C of the whole file.
    var checksum: UInt32
    var rangeDeletes: [RangeTombstone] = []
}
