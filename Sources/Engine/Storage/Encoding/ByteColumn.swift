// Bytes that are gathered from front to back and given out as one piece: a column of a block while it is built. Raw
// memory that is never shared, so that adding costs a bounds check and a copy. It keeps its memory when it is emptied.

struct ByteColumn: ~Copyable {
    private var memory: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    /// - Parameter capacity: bytes to begin with, at least 64.
    init(capacity: Int) {
        memory = .allocate(byteCount: max(64, capacity), alignment: 16)
    }

    deinit {
        memory.deallocate()
    }

    /// Valid until the next change.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory.baseAddress, count: count) }

    mutating func append(_ source: UnsafeRawBufferPointer) {
        guard source.count > 0, let from = source.baseAddress else { return }
        ensureRoom(source.count)
        (memory.baseAddress.unsafelyUnwrapped + count).copyMemory(from: from, byteCount: source.count)  // never empty
        count &+= source.count
    }

    /// Adds a value in this machine's byte order, for ``value(_:as:)``.
    mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        let size = MemoryLayout<Value>.size
        ensureRoom(size)
        (memory.baseAddress.unsafelyUnwrapped + count).storeBytes(of: value, as: Value.self)  // never empty
        count &+= size
    }

    /// The value at this place of a column that holds values of one type.
    func value<Value: FixedWidthInteger>(_ index: Int, as type: Value.Type = Value.self) -> Value {
        let offset = index &* MemoryLayout<Value>.size
        precondition(index >= 0 && offset &+ MemoryLayout<Value>.size <= count, "a place outside of the column")
        return memory.baseAddress.unsafelyUnwrapped.loadUnaligned(fromByteOffset: offset, as: type)  // never empty
    }

    mutating func removeAll() {
        count = 0
    }

    @inline(__always)  // the one check of every append
    private mutating func ensureRoom(_ added: Int) {
        if count &+ added > memory.count { grow(count + added) }
    }

    @inline(never)
    private mutating func grow(_ needed: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: needed * 2, alignment: 16)
        larger.copyMemory(from: bytes)
        memory.deallocate()
        memory = larger
    }
}
