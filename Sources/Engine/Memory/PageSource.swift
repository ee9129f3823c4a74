// Gives and takes back large pieces of memory (memtables, block buffers) from the allocator that was chosen. It is for
// pieces of kilobytes and more: small objects belong into an Arena made of one such piece. It must never fall back
// from one allocator to another, because then a measurement would carry the wrong label.
internal import CEngine
internal import CJemalloc
internal import Glibc

/// One of the three allocators, chosen at run time. Cheap to copy; any thread may use it.
public struct PageSource: Sendable, Hashable {
    /// Alignment in bytes of everything handed out.
    public static let alignment = 4096
    /// Mappings of at least this many bytes are aligned to it, so that the kernel can back them with huge pages.
    public static let hugePageBytes = 2 << 20

    public let kind: AllocatorKind
    /// Under what ``MemoryStatistics`` counts it.
    public private(set) var use = MemoryUse.other

    /// - Throws: ``MemoryError`` when jemalloc refuses to create its arena.
    public init(_ kind: AllocatorKind) throws(MemoryError) {
        self.kind = kind
        if kind == .jemalloc, Self.jemallocArena == nil { throw MemoryError(bytes: 0, allocator: kind) }
    }

    /// The same allocator, counted under `use`.
    public func serving(_ use: MemoryUse) -> PageSource {
        var source = self
        source.use = use
        return source
    }

    /// Hands out at least `bytes` bytes, aligned to ``alignment``, of undefined content. Pages are touched lazily where
    /// the allocator allows it.
    public func allocate(bytes: Int) throws(MemoryError) -> UnsafeMutableRawPointer {
        precondition(bytes > 0, "an allocation needs at least one byte")
        let address: UnsafeMutableRawPointer? =
            switch kind {
            case .arena: Self.map(bytes: Self.mappedBytes(bytes))
            case .jemalloc: mallocx(bytes, Self.jemallocFlags)
            case .system: __libc_memalign(Self.alignment, bytes)
            }
        guard let address else { throw MemoryError(bytes: bytes, allocator: kind) }
        MemoryCounters.shared.add(kind, use, live: bytes, mapped: Self.takenBytes(bytes, kind))
        return address
    }

    /// As ``allocate(bytes:)``, filled with zeros; without touching a page where the allocator gives fresh ones.
    public func allocateZeroed(bytes: Int) throws(MemoryError) -> UnsafeMutableRawPointer {
        let address = try allocate(bytes: bytes)
        // Fresh anonymous mappings are zero (mmap(2)); the others may hand out what was used before.
        if kind != .arena { address.initializeMemory(as: UInt8.self, repeating: 0, count: bytes) }
        return address
    }

    /// Takes back what ``allocate(bytes:)`` gave; `bytes` must be the number asked for.
    public func release(_ address: UnsafeMutableRawPointer, bytes: Int) {
        MemoryCounters.shared.add(kind, use, live: -bytes, mapped: -Self.takenBytes(bytes, kind))
        switch kind {
        case .arena: Self.unmap(address, bytes: Self.mappedBytes(bytes))
        case .jemalloc: sdallocx(address, bytes, Self.jemallocFlags)
        case .system: __libc_free(address)
        }
    }

    /// What an allocation takes of its allocator.
    private static func takenBytes(_ bytes: Int, _ kind: AllocatorKind) -> Int {
        switch kind {
        case .arena: mappedBytes(bytes)
        case .jemalloc: nallocx(bytes, jemallocFlags)
        case .system: (bytes + alignment - 1) / alignment * alignment
        }
    }

    static func unmap(_ address: UnsafeMutableRawPointer, bytes: Int) {
        let outcome = munmap(address, bytes)
        precondition(outcome == 0, "munmap refused a mapping that PageSource had made")
    }

    static func mappedBytes(_ bytes: Int) -> Int {
        let unit = bytes >= hugePageBytes ? hugePageBytes : alignment
        return (bytes + unit - 1) / unit * unit
    }

    static func map(bytes: Int) -> UnsafeMutableRawPointer? {
        let slack = bytes >= hugePageBytes ? hugePageBytes : 0
        let mapped = mmap(
            nil, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let mapped, mapped != MAP_FAILED else { return nil }
        guard slack > 0 else { return mapped }
        // The kernel aligns to 4 KiB only: cut the ends off so that the rest starts on a huge page.
        let before = (hugePageBytes - Int(bitPattern: mapped) % hugePageBytes) % hugePageBytes
        let start = mapped + before
        if before > 0 { munmap(mapped, before) }
        if slack > before { munmap(start + bytes, slack - before) }
        // Advice only: without huge pages everything works, just slower.
        _ = madvise(start, bytes, MADV_HUGEPAGE)
        return start
    }

    /// One arena for the process: jemalloc allows about 4,095 in all and never gives an index back cheaply.
    private static let jemallocArena: UInt32? = {
        var index: UInt32 = 0
        var size = MemoryLayout<UInt32>.size
        return mallctl("arenas.create", &index, &size, nil, 0) == 0 ? index : nil
    }()

    /// MALLOCX_ARENA | MALLOCX_TCACHE_NONE | MALLOCX_LG_ALIGN(12): macros that Swift can't import.
    private static let jemallocFlags = (Int32(bitPattern: jemallocArena ?? 0) + 1) << 20 | 1 << 8 | 12

    /// The same arena for pieces of kilobytes: MALLOCX_LG_ALIGN(6).
    static let jemallocPieceFlags = (Int32(bitPattern: jemallocArena ?? 0) + 1) << 20 | 1 << 8 | 6
}
