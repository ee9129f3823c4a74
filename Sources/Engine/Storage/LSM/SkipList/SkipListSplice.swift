// Where a writer inserted last: its neighbours on every level. The next key often goes near, and then the search starts
// there. The state of the writer's random heights lies beside it. It must never be used by two threads at once.

/// A view of one writer's splice in raw memory.
///
/// On every level `previous` precedes the last inserted node or is that node, and `next` follows it; neighbours of a
/// higher level lie no nearer than those of a lower one. A lone writer's are also linked to each other.
struct SkipListSplice {
    static let bytes = 128
    private static let randomField = 0
    private static let previousField = 8
    private static let nextField = previousField + SkipList.heightMax * 4
    private static let creditField = nextField + SkipList.heightMax * 4

    private let memory: UnsafeMutableRawPointer

    @inline(__always)  // a pointer with names; all below are single loads and stores of the insert's inner loops
    init(_ memory: UnsafeMutableRawPointer) { self.memory = memory }

    func reset(head: SkipListNode, seed: UInt64) {
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.bytes)
        memory.storeBytes(of: seed | 1, toByteOffset: Self.randomField, as: UInt64.self)
        forget(head: head)
    }

    /// Makes it fit any key.
    func forget(head: SkipListNode) {
        for level in 0..<SkipList.heightMax { set(level, previous: head, next: 0) }
    }

    @inline(__always)
    func set(_ level: Int, previous: SkipListNode, next: SkipListNode) {
        memory.storeBytes(of: previous, toByteOffset: Self.previousField &+ level &<< 2, as: UInt32.self)
        memory.storeBytes(of: next, toByteOffset: Self.nextField &+ level &<< 2, as: UInt32.self)
    }

    @inline(__always)
    func previous(_ level: Int) -> SkipListNode {
        memory.load(fromByteOffset: Self.previousField &+ level &<< 2, as: UInt32.self)
    }

    @inline(__always)
    func next(_ level: Int) -> SkipListNode {
        memory.load(fromByteOffset: Self.nextField &+ level &<< 2, as: UInt32.self)
    }

    /// How many more times it is worth to look for a near start of the search, going by the last keys.
    @inline(__always)
    var credit: UInt32 {
        get { memory.load(fromByteOffset: Self.creditField, as: UInt32.self) }
        nonmutating set { memory.storeBytes(of: newValue, toByteOffset: Self.creditField, as: UInt32.self) }
    }

    /// 1 with probability 3/4, each further level a quarter of the one before (xorshift64*).
    @inline(__always)
    func randomHeight() -> Int {
        var word = memory.load(fromByteOffset: Self.randomField, as: UInt64.self)
        word ^= word &>> 12
        word ^= word &<< 25
        word ^= word &>> 27
        memory.storeBytes(of: word, toByteOffset: Self.randomField, as: UInt64.self)
        let bits = (word &* 0x2545_f491_4f6c_dd1d) &>> 32
        return Swift.min(1 &+ bits.trailingZeroBitCount &>> 1, SkipList.heightMax)
    }
}
