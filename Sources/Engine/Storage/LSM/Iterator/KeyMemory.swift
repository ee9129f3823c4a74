// A copy of the last key or value that a cursor needs to remember. Grows and is never shared, so that remembering costs
// a memory copy and nothing else.

struct KeyMemory: ~Copyable {
    private var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
    private var count = 0

    deinit {
        memory.deallocate()
    }

    /// Valid until the next ``set(_:)``.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory.baseAddress, count: count) }

    /// Takes a copy; `source` must not be this memory itself.
    mutating func set(_ source: UnsafeRawBufferPointer) {
        count = source.count
        if count > memory.count {
            memory.deallocate()
            memory = .allocate(byteCount: count * 2, alignment: 16)
        }
        if let start = source.baseAddress, count > 0 {
            memory.baseAddress.unsafelyUnwrapped.copyMemory(from: start, byteCount: count)  // never empty
        }
    }
}
