// Where a log's frames are made: straight in a window of the mapped file, or in a buffer that is written in one call.
// Both give the same bytes. It knows nothing of records, durability or failures of the log; it only makes room, hands
// out memory and says how far the file holds what was made.
internal import FileIO

struct WALOutput: @unchecked Sendable {
    // @unchecked: it has one owner, the log, which whoever writes to it holds alone.

    /// Bytes of the file that are mapped at a time: small, because mapped pages count as the process's memory.
    static let windowBytes = 1 << 20

    private let file: any File
    private(set) var isMapped: Bool
    /// Position in the log of the first byte of `memory`.
    private var origin: Int
    /// Position behind its last byte.
    private var limit: Int
    private var memory: UnsafeMutableRawPointer
    /// Keeps `memory` alive.
    private var owner: AnyObject
    /// Where the next byte goes.
    private(set) var position: Int
    /// The file holds everything in front of this.
    private(set) var written: Int
    /// Length of the file, all of it reserved.
    private var reserved: Int

    private final class Buffer {
        let base: UnsafeMutableRawPointer
        init(_ count: Int) { base = .allocate(byteCount: count, alignment: 16) }
        deinit { base.deallocate() }
    }

    /// For a file that holds `position` bytes of the log and has `reserved` bytes of space.
    /// - Parameter maps: map the file where that can be done.
    init(_ file: any File, at position: Int, reserved: Int, bufferBytes: Int, maps: Bool) throws(FileIOError) {
        self.file = file
        self.position = position
        self.reserved = reserved
        written = position
        if maps, let mapping = try Self.window(file, at: position, count: 1, reserved: reserved, isFilledSoon: false) {
            isMapped = true
            origin = Self.pageStart(position)
            (limit, memory, owner) = (origin + mapping.count, mapping.base, mapping)
        } else {
            isMapped = false
            origin = position
            let buffer = Buffer(bufferBytes)
            (limit, memory, owner) = (position + bufferBytes, buffer.base, buffer)
        }
    }

    /// Goes on with writes: a store to a mapped page makes the kernel write all of the (large) folio that holds it,
    /// which costs too much when each record is synced.
    mutating func unmap(bufferBytes: Int) {
        guard isMapped else { return }
        let buffer = Buffer(bufferBytes)
        isMapped = false
        origin = position
        (limit, memory, owner) = (position + bufferBytes, buffer.base, buffer)
    }

    private static func pageStart(_ position: Int) -> Int {
        position / FileCaching.alignmentBytes * FileCaching.alignmentBytes
    }

    private static func window(
        _ file: any File, at position: Int, count: Int, reserved: Int, isFilledSoon: Bool
    ) throws(FileIOError) -> (any FileMapping)? {
        let start = pageStart(position)
        let needed = position + count - start
        let wanted = max(min(windowBytes, reserved - start), needed)
        return try file.map(at: UInt64(start), count: wanted, isFilledSoon: isFilledSoon)
    }

    /// Makes sure that the next `count` bytes have memory.
    /// - Parameter isFilledSoon: no sync comes before the window is full, so its pages may all be brought in now.
    mutating func makeRoom(_ count: Int, isFilledSoon: Bool) throws(FileIOError) {
        guard position + count > limit else { return }
        if position + count > reserved {
            try file.reserve(at: 0, count: UInt64(position + count))
            reserved = position + count
        }
        guard isMapped else { return growBuffer(count) }
        let mapping = try Self.window(
            file, at: position, count: count, reserved: reserved, isFilledSoon: isFilledSoon)
        guard let mapping else { preconditionFailure("a file that could be mapped once can be mapped again") }
        origin = Self.pageStart(position)
        (limit, memory, owner) = (origin + mapping.count, mapping.base, mapping)
    }

    private mutating func growBuffer(_ count: Int) {
        let pending = position - origin
        let capacity = max(2 * (limit - origin), pending + count)
        let grown = Buffer(capacity)
        grown.base.copyMemory(from: memory, byteCount: pending)
        (limit, memory, owner) = (origin + capacity, grown.base, grown)
    }

    /// Hands `body` the memory of the next byte; it returns how many bytes it made, all of which must have been made
    /// room for.
    @inline(__always)  // one per write; the closure must not become an object
    mutating func append(_ body: (_ memory: UnsafeMutableRawPointer, _ position: Int) -> Int) {
        let made = body(memory + (position - origin), position)
        precondition(position + made <= limit, "frames took more room than was made for them")
        position += made
        if isMapped { written = position }
    }

    /// Bytes that the file does not hold yet.
    var pending: Int { position - written }

    /// Writes what is pending.
    mutating func flush(_ durability: WriteDurability) throws(FileIOError) {
        guard pending > 0 else { return }
        try file.write(
            UnsafeRawBufferPointer(start: memory, count: pending), at: UInt64(written), durability: durability)
        written = position
        limit += position - origin
        origin = position
    }
}
