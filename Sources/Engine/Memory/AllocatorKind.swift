// Who gives the engine its large pieces of memory. A runtime switch, so that a measurement can compare them in one
// build; nothing outside this module may depend on which one is on.

/// The memory switch of server and lab.
public enum AllocatorKind: String, CaseIterable, Sendable, Hashable {
    /// Own anonymous mappings, aligned to and advised for 2 MiB pages.
    case arena
    /// An explicit jemalloc arena (`mallocx`), apart from the process's `malloc`.
    case jemalloc
    /// The C library's allocator, also where jemalloc is linked over `malloc`.
    case system
}

/// Memory that could not be had.
public struct MemoryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Bytes asked for; 0 when the allocator itself could not be set up.
    public var bytes: Int
    public var allocator: AllocatorKind

    public init(bytes: Int, allocator: AllocatorKind) {
        self.bytes = bytes
        self.allocator = allocator
    }

    public var description: String {
        bytes == 0
            ? "the \(allocator.rawValue) allocator could not be set up; choose another one"
            : "the \(allocator.rawValue) allocator has no \(bytes) bytes left; lower the memory budget or the memtable size"
    }
}
