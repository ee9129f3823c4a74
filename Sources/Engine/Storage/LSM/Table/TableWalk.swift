// What a walk through tables keeps at hand from block to block: the part of a large index that it is in, and for walks that
// read everything once a window of the file. For one thread. It must go before the cache and the tables do.
internal import FileIO

struct TableWalk: ~Copyable {
    /// A part of an index, pinned by `pin`.
    private(set) var part: BlockView?
    /// Number of the part's first data block.
    private(set) var partStart = 0
    private var partTable: UInt64 = 0
    private var pin: BlockPin?
    var window = ReadWindow()

    func holds(_ block: Int, of table: Table) -> Bool {
        guard let part, partTable == table.identity.number else { return false }
        return partStart <= block && block - partStart < part.count
    }

    mutating func hold(_ pin: consuming BlockPin, _ view: BlockView, start: Int, of table: UInt64) {
        self.pin = consume pin
        part = view
        partStart = start
        partTable = table
    }

    mutating func end() {
        part = nil
        pin = nil
        window.end()
    }
}

/// Bytes of one table, read ahead of who goes through all its blocks.
struct ReadWindow: ~Copyable {
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var table: UInt64 = 0
    private var start: UInt64 = 0
    private var count = 0

    /// Bytes of one read. A larger block is read by itself.
    private static let bytes = 256 << 10

    deinit {
        memory.deallocate()
    }

    mutating func end() {
        memory.deallocate()
        memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        count = 0
    }

    /// Checks and unpacks one data block.
    mutating func read(
        _ handle: BlockHandle, of table: Table, upTo end: UInt64
    ) throws(StorageError) -> BlockBuffer {
        let total = Int(handle.size) + BlockFrame.trailerBytes
        if total > Self.bytes {
            return try BlockBuffer(reading: handle, kind: .data, from: table.file, identity: table.identity)
        }
        let isHere =
            self.table == table.identity.number && start <= handle.offset
            && handle.offset + UInt64(total) <= start + UInt64(count)
        if !isHere { try fill(from: handle.offset, table, upTo: end) }
        let place = Int(handle.offset - start)
        let stored = UnsafeRawBufferPointer(rebasing: memory[place..<min(place + total, count)])
        return try BlockBuffer(
            copying: stored, from: handle, kind: .data, of: table.file.path, identity: table.identity)
    }

    private mutating func fill(from offset: UInt64, _ table: Table, upTo end: UInt64) throws(StorageError) {
        if memory.isEmpty { memory = .allocate(byteCount: Self.bytes, alignment: 4096) }
        count = 0
        let size = Int(min(UInt64(Self.bytes), end - offset))
        let target = UnsafeMutableRawBufferPointer(rebasing: memory[..<size])
        let read = try disk { () throws(FileIOError) in try table.file.read(into: target, at: offset) }
        self.table = table.identity.number
        start = offset
        count = read
    }
}
