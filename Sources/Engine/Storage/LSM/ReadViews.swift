// The view that counts, and who is reading from which: short reads mark a slot instead of counting references, because
// counters that all cores write are what point reads would spend their time on. A replaced view is freed once every
// reader that may have it has left (Fraser, "Practical lock-freedom", 2004, epochs; here one slot for each reader that
// is inside). It must never free a view while a slot holds an epoch from before the view was replaced.
internal import CEngine
internal import Synchronization

struct ReadViews: ~Copyable, @unchecked Sendable {
    // @unchecked: raw memory of atomics, and a mutex around everything else.

    /// Readers inside at the same time without touching a shared counter. One more takes the mutex and a reference.
    static let slotCount = 64
    /// Two cache lines: processors fetch them in pairs.
    private static let slotBytes = 128

    /// Byte offsets inside `memory`; the slots follow.
    private enum Field {
        static let current = 0
        /// Counts replacements, from 1.
        static let epoch = 8
        static let slots = 128
    }

    /// A replaced view and the last epoch in which a reader may have taken it.
    private struct Retired: @unchecked Sendable {
        // @unchecked: a reference that this struct owns.
        let view: Unmanaged<ReadView>
        let epoch: UInt64
    }

    private let memory: UnsafeMutableRawPointer
    private let retired = Mutex<[Retired]>([])

    init(_ view: ReadView) {
        let bytes = Field.slots + Self.slotCount * Self.slotBytes
        memory = .allocate(byteCount: bytes, alignment: Self.slotBytes)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        epoch.pointee.store(1, ordering: .relaxed)
        current.pointee.store(Self.word(of: view), ordering: .releasing)
    }

    deinit {
        // Readers hold the store, so none is left.
        retired.withLock { retired in
            for old in retired { old.view.release() }
            retired = []
        }
        Self.view(of: current.pointee.load(ordering: .acquiring)).release()
        memory.deallocate()
    }

    /// A reader that is inside.
    struct Reader {
        /// Nil: there was no free slot, and the view is retained.
        fileprivate let slot: UnsafeMutablePointer<Atomic<UInt64>>?
        fileprivate let view: Unmanaged<ReadView>

        /// Reads from the view without counting a reference.
        @inline(__always)
        func borrow<Value>(_ body: (ReadView) throws(StorageError) -> Value) throws(StorageError) -> Value {
            // The slot keeps the view alive. The closure may only throw untyped errors, hence the detour.
            let outcome = view._withUnsafeGuaranteedRef { (view) -> Result<Value, StorageError> in
                do throws(StorageError) { return .success(try body(view)) } catch { return .failure(error) }
            }
            return try outcome.get()
        }
    }

    /// Must be followed by ``leave(_:)`` on the same thread, soon: memory and files of old views wait for it.
    @inline(__always)  // the first instructions of every point read
    func enter() -> Reader {
        let slot = slot(Int(strata_thread_number()))
        let now = epoch.pointee.load(ordering: .acquiring)
        // Sequentially consistent, both: who looks at the slots after replacing the view either sees this mark, or this
        // load sees the new view.
        guard
            slot.pointee.compareExchange(expected: 0, desired: now, ordering: .sequentiallyConsistent).exchanged
        else { return enterElsewhere() }
        return Reader(slot: slot, view: Self.view(of: current.pointee.load(ordering: .sequentiallyConsistent)))
    }

    @inline(__always)
    func leave(_ reader: Reader) {
        guard let slot = reader.slot else { return Self.release(reader) }
        slot.pointee.store(0, ordering: .releasing)
    }

    @inline(never)  // seldom, and keeps the reference count out of the point read's code
    private static func release(_ reader: Reader) {
        reader.view.release()
    }

    /// Another thread has the slot, or this one is inside already.
    @inline(never)
    private func enterElsewhere() -> Reader {
        let first = Int(strata_thread_number())
        for step in 1..<Self.slotCount {
            let slot = slot(first &+ step)
            let now = epoch.pointee.load(ordering: .acquiring)
            if slot.pointee.compareExchange(expected: 0, desired: now, ordering: .sequentiallyConsistent).exchanged {
                return Reader(
                    slot: slot, view: Self.view(of: current.pointee.load(ordering: .sequentiallyConsistent)))
            }
        }
        return retired.withLock { _ in
            Reader(slot: nil, view: Self.view(of: current.pointee.load(ordering: .acquiring)).retain())
        }
    }

    /// A counted reference, for whoever stays long.
    func retained() -> ReadView {
        let reader = enter()
        defer { leave(reader) }
        return reader.view.takeUnretainedValue()
    }

    /// Puts another view in place of the current one. Calls exclude each other.
    func replace(_ change: (ReadView) -> ReadView) {
        retired.withLock { retired in
            let old = Self.view(of: current.pointee.load(ordering: .acquiring))
            let next = change(old.takeUnretainedValue())
            current.pointee.store(Self.word(of: next), ordering: .sequentiallyConsistent)
            let last = epoch.pointee.load(ordering: .relaxed)
            epoch.pointee.store(last + 1, ordering: .sequentiallyConsistent)
            retired.append(Retired(view: old, epoch: last))
        }
    }

    /// Frees the replaced views that no reader can have any more. For maintenance: what goes with a view are whole
    /// memtables and the names of open files.
    func reclaim() {
        let free = retired.withLock { retired -> [Retired] in
            guard !retired.isEmpty else { return [] }
            let oldest = oldestReader
            let free = retired.filter { $0.epoch < oldest }
            retired.removeAll { $0.epoch < oldest }
            return free
        }
        for old in free { old.view.release() }
    }

    /// Replaced views that are still there.
    var retiredCount: Int { retired.withLock { $0.count } }

    /// The lowest epoch that a reader entered in; the highest number when nobody is inside.
    private var oldestReader: UInt64 {
        var oldest = UInt64.max
        for number in 0..<Self.slotCount {
            let entered = slot(number).pointee.load(ordering: .sequentiallyConsistent)
            if entered != 0 { oldest = min(oldest, entered) }
        }
        return oldest
    }

    @inline(__always)
    private var current: UnsafeMutablePointer<Atomic<UInt>> {
        (memory + Field.current).assumingMemoryBound(to: Atomic<UInt>.self)
    }

    @inline(__always)
    private var epoch: UnsafeMutablePointer<Atomic<UInt64>> {
        (memory + Field.epoch).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Numbers wrap around.
    @inline(__always)
    private func slot(_ number: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        (memory + Field.slots + (number & (Self.slotCount &- 1)) &* Self.slotBytes)
            .assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Takes a reference.
    private static func word(of view: ReadView) -> UInt {
        UInt(bitPattern: Unmanaged.passRetained(view).toOpaque())
    }

    @inline(__always)
    private static func view(of word: UInt) -> Unmanaged<ReadView> {
        // Never 0: there is a view from init to deinit.
        Unmanaged.fromOpaque(UnsafeRawPointer(bitPattern: word).unsafelyUnwrapped)
    }
}
