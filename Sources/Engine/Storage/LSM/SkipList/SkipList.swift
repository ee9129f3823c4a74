// The sorted structure behind a memtable: keys, versions and values in one arena, linked by 32-bit numbers. One thread
// inserts, or several through a writer each; any number read at the same time without a lock. It must never change a
// byte of a node after publishing it, links excepted, and never free one before the whole list goes: readers rely on
// both.
//
// A node at arena place n (8-byte units; the address below is n * 8), all fields in native order:
//
//     -4(h-1) ..    u32 next[h-1 ... 1]
//      0            u32 next[0]
//      4            u32 key length << 8 | height
//      8            u64 trailer = sequence << 8 | kind
//     16            u32 value length
//     20            u32 previous node at level 0
//     24            key, zero-padded to 8 bytes and at least 16; then the value
//
// Order: key ascending as unsigned bytes, then trailer descending, so that a key's newest version comes first.
public import Memory
internal import Synchronization

/// A node's place in its list; 0 is no node. Valid as long as the list.
public typealias SkipListNode = UInt32

/// A sorted list of versions: expected O(log n) insert and search, branching 4 (Pugh, "Skip Lists", CACM 1990).
public struct SkipList: ~Copyable, @unchecked Sendable {
    // @unchecked: writers by contract, see `insert`; everything a reader touches is published by a release store to a
    // link.

    /// Levels; enough for 4^12 = 16.8 M nodes at full speed.
    static let heightMax = 12
    /// Newest sequence that fits a trailer.
    public static let sequenceMax: UInt64 = 1 << 56 - 1

    let arena: Arena
    /// Same as `arena.base`; kept here so that the hot loops load one word.
    let base: UnsafeMutableRawPointer
    let state: UnsafeMutableRawPointer
    let head: SkipListNode

    /// Makes an empty list.
    /// - Parameters:
    ///   - capacity: bytes to reserve; see ``bytesNeeded(keyBytes:valueBytes:)``.
    ///   - seed: of the heights; the same seed and inserts give the same list.
    public init(capacity: Int, source: PageSource, seed: UInt64) throws(MemoryError) {
        let arena = try Arena(capacity: Swift.max(capacity, Self.overheadBytes), source: source)
        let stateOffset = arena.allocate(bytes: StateField.bytes)
        let before = (Self.heightMax - 1) * 4
        let headStart = arena.allocate(bytes: (before + 7) & ~7 + NodeField.key)
        precondition(stateOffset != 0 && headStart != 0, "a skip list's arena holds its own head")
        base = arena.base
        state = arena.address(of: stateOffset)
        head = headStart + UInt32((before + 7) >> 3)
        self.arena = arena
        state.initializeMemory(as: UInt8.self, repeating: 0, count: StateField.bytes)
        base.advanced(by: Int(headStart) * Arena.unitBytes).initializeMemory(
            as: UInt8.self, repeating: 0, count: (before + 7) & ~7 + NodeField.key)
        height.pointee.store(1, ordering: .relaxed)
        splice.reset(head: head, seed: seed)
    }

    /// Entries, all versions counted.
    public var count: Int {
        Int(atomicWord(at: StateField.count).pointee.load(ordering: .relaxed))
    }

    public var isEmpty: Bool { count == 0 }

    /// Arena bytes in use, the list's own overhead included.
    public var usedBytes: Int { arena.usedBytes }

    /// Arena bytes left.
    public var freeBytes: Int { arena.freeBytes }

    /// Bytes of an empty list.
    public static let overheadBytes = 512

    /// The most that one insert can take.
    public static func bytesNeeded(keyBytes: Int, valueBytes: Int) -> Int {
        NodeField.key + Swift.max(16, keyBytes + 7) + valueBytes + 7 + heightMax * 4
    }
}

/// Byte offsets inside a node. See the picture at the top.
enum NodeField {
    static let meta = 4
    static let trailer = 8
    static let valueLength = 16
    static let previous = 20
    static let key = 24
}

/// Byte offsets inside the list's own state, which lives in the arena so that inserting needs no exclusive access. What
/// every search reads has a cache line of its own.
enum StateField {
    static let height = 0
    /// 1 once several threads have inserted since the list's own splice was made.
    static let spliceIsStale = 4
    static let count = 64
    static let last = 72
    static let splice = 128
    static let bytes = splice + SkipListSplice.bytes
}

// Field access. All of these are single loads and stores inside the hot loops: @inline(__always) keeps them so when the
// optimiser counts the loops as too large.
extension SkipList {
    @inline(__always)
    func address(_ node: SkipListNode) -> UnsafeMutableRawPointer {
        base + Int(node) &<< 3
    }

    @inline(__always)
    func link(_ node: SkipListNode, _ level: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
        (address(node) - level &<< 2).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    @inline(__always)
    func next(_ node: SkipListNode, _ level: Int) -> SkipListNode {
        link(node, level).pointee.load(ordering: .acquiring)
    }

    @inline(__always)
    func back(_ node: SkipListNode) -> UnsafeMutablePointer<Atomic<UInt32>> {
        (address(node) + NodeField.previous).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    @inline(__always)
    var height: UnsafeMutablePointer<Atomic<UInt32>> {
        (state + StateField.height).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// The node with the greatest key, or 0.
    @inline(__always)
    var last: UnsafeMutablePointer<Atomic<UInt32>> {
        (state + StateField.last).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    @inline(__always)
    func atomicWord(at field: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        (state + field).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    @inline(__always)
    var spliceIsStale: UnsafeMutablePointer<Atomic<UInt32>> {
        (state + StateField.spliceIsStale).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// Of the lone writer.
    @inline(__always)
    var splice: SkipListSplice { SkipListSplice(state + StateField.splice) }
}

// What a node holds.
extension SkipList {
    @inline(__always)
    func keyBytes(_ node: SkipListNode) -> Int {
        Int(address(node).load(fromByteOffset: NodeField.meta, as: UInt32.self) >> 8)
    }

    /// The key of a node. Valid as long as the list.
    public func key(of node: SkipListNode) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: address(node) + NodeField.key, count: keyBytes(node))
    }

    /// The value of a node, empty for a delete. Valid as long as the list.
    public func value(of node: SkipListNode) -> UnsafeRawBufferPointer {
        let start = address(node)
        return UnsafeRawBufferPointer(
            start: start + NodeField.key + Self.paddedKeyBytes(keyBytes(node)),
            count: Int(start.load(fromByteOffset: NodeField.valueLength, as: UInt32.self)))
    }

    /// `sequence << 8 | kind`.
    public func trailer(of node: SkipListNode) -> UInt64 {
        address(node).load(fromByteOffset: NodeField.trailer, as: UInt64.self)
    }

    public func sequence(of node: SkipListNode) -> UInt64 { trailer(of: node) >> 8 }

    public func kind(of node: SkipListNode) -> OperationKind {
        trailer(of: node) & 0xff == 0 ? .delete : .put
    }

    @inline(__always)
    static func paddedKeyBytes(_ count: Int) -> Int {
        Swift.max(16, (count &+ 7) & ~7)
    }
}
