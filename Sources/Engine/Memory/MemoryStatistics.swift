// How much memory each allocator has handed out, and for what: the numbers behind `/metrics` and behind every statement
// about the budget. Updated where large pieces change hands, so it costs nothing on hot paths; it decides nothing.
internal import CJemalloc
internal import Synchronization

/// What memory from ``PageSource`` and ``MemoryPiece`` is for.
public enum MemoryUse: Int, CaseIterable, Sendable, Hashable {
    /// Memtables of the tree.
    case memtable
    /// Hash indexes beside memtables.
    case memtableIndex
    /// The hash log's index of all keys.
    case keyIndex
    /// Blocks of tables: cached, pinned (indexes and filters), and being read.
    case block
    /// Pieces of a snapshot on their way to the disk.
    case snapshot
    case other

    /// As labels have it.
    public var name: String {
        switch self {
        case .memtable: "memtable"
        case .memtableIndex: "memtable_index"
        case .keyIndex: "key_index"
        case .block: "block"
        case .snapshot: "snapshot"
        case .other: "other"
        }
    }
}

/// One allocator's memory for one use, in this process, now.
public struct MemoryStatistics: Sendable, Hashable {
    public var allocator: AllocatorKind
    public var use: MemoryUse
    /// Bytes handed out and not taken back.
    public var liveBytes: Int
    /// Bytes of address space taken from the kernel or the allocator for them, with rounding and what waits for its
    /// next use. Pages that were never touched are counted and cost nothing.
    public var mappedBytes: Int

    /// Every pair that was ever used.
    public static var all: [MemoryStatistics] {
        AllocatorKind.allCases.flatMap { kind in
            MemoryUse.allCases.compactMap { use in
                let (live, mapped) = MemoryCounters.shared.read(kind, use)
                let mappedEver = MemoryCounters.shared.wasUsed(kind, use)
                return mappedEver
                    ? MemoryStatistics(allocator: kind, use: use, liveBytes: live, mappedBytes: mapped) : nil
            }
        }
    }
}

/// The process's `malloc`, which is jemalloc where it is linked: what Swift's own objects and arrays live in.
public struct MallocStatistics: Sendable, Hashable {
    public var allocatedBytes: Int
    public var mappedBytes: Int
    /// Pages that the allocator holds in memory, also those that nobody uses at the moment.
    public var residentBytes: Int

    /// Nil when jemalloc was built without statistics.
    public static func read() -> MallocStatistics? {
        // The numbers stand still until the epoch is moved (jemalloc(3)).
        var epoch: UInt64 = 1
        guard mallctl("epoch", nil, nil, &epoch, MemoryLayout<UInt64>.size) == 0,
            let allocated = number("stats.allocated"), let mapped = number("stats.mapped"),
            let resident = number("stats.resident")
        else { return nil }
        return MallocStatistics(allocatedBytes: allocated, mappedBytes: mapped, residentBytes: resident)
    }

    private static func number(_ name: String) -> Int? {
        var value = 0
        var size = MemoryLayout<Int>.size
        return mallctl(name, &value, &size, nil, 0) == 0 ? value : nil
    }
}

/// Two counters for each pair of allocator and use.
struct MemoryCounters: @unchecked Sendable {
    // @unchecked: the pointer never changes; what is behind it is atomic.
    static let shared = MemoryCounters()

    private let words: UnsafeMutablePointer<Atomic<Int>>
    private static let wordsPerPair = 3

    private init() {
        let count = AllocatorKind.allCases.count * MemoryUse.allCases.count * Self.wordsPerPair
        // Never given back: it serves as long as the process.
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count * 8, alignment: 64)
        memory.initializeMemory(as: UInt64.self, repeating: 0, count: count)
        words = memory.assumingMemoryBound(to: Atomic<Int>.self)
    }

    private func pair(_ kind: AllocatorKind, _ use: MemoryUse) -> UnsafeMutablePointer<Atomic<Int>> {
        let row =
            switch kind {
            case .arena: 0
            case .jemalloc: 1
            case .system: 2
            }
        return words + (row * MemoryUse.allCases.count + use.rawValue) * Self.wordsPerPair
    }

    func add(_ kind: AllocatorKind, _ use: MemoryUse, live: Int, mapped: Int) {
        let words = pair(kind, use)
        words[0].add(live, ordering: .relaxed)
        if mapped != 0 { words[1].add(mapped, ordering: .relaxed) }
        if live > 0, words[2].load(ordering: .relaxed) == 0 { words[2].store(1, ordering: .relaxed) }
    }

    func read(_ kind: AllocatorKind, _ use: MemoryUse) -> (live: Int, mapped: Int) {
        let words = pair(kind, use)
        return (words[0].load(ordering: .relaxed), words[1].load(ordering: .relaxed))
    }

    func wasUsed(_ kind: AllocatorKind, _ use: MemoryUse) -> Bool { pair(kind, use)[2].load(ordering: .relaxed) != 0 }
}
