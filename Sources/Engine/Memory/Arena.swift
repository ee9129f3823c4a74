// One contiguous piece of memory handed out front to back and freed as a whole. Places are named by 32-bit numbers of
// 8-byte units, half the size of a pointer. It must never move or reuse a byte before it is released, because readers
// follow its numbers without a lock.
public import Synchronization

/// A bump allocator over one reservation. One thread allocates, or several through ``allocateConcurrently(bytes:)``;
/// any thread may read what was published to it.
///
/// The cursor lives inside the reservation, so that an arena in a `let` of a class can allocate without exclusivity
/// checks. Reach: 2^32 units = 32 GiB.
@frozen
public struct Arena: ~Copyable, @unchecked Sendable {
    // @unchecked: the pointer is owned and never changes; writes behind it follow the one-writer rule above.

    /// Bytes of one unit of an offset.
    public static var unitBytes: Int { 8 }
    /// Units taken by the cursor; so 0 never names an allocation and can mean "none" or "full".
    @usableFromInline static var headerUnits: UInt32 { 8 }
    /// Largest reservation in bytes.
    public static var capacityBytesMax: Int { 8 << 32 }

    /// Start of the reservation.
    public let base: UnsafeMutableRawPointer
    /// Usable units, header included.
    @usableFromInline let limit: UInt64
    private let reservedBytes: Int
    private let source: PageSource

    /// Reserves `capacity` bytes; pages are touched as they are used.
    public init(capacity: Int, source: PageSource) throws(MemoryError) {
        let least = Int(Self.headerUnits) * Self.unitBytes
        precondition(
            capacity > least && capacity < Self.capacityBytesMax, "an arena holds more than its header, below 32 GiB")
        base = try source.allocate(bytes: capacity)
        limit = UInt64(capacity / Self.unitBytes)
        reservedBytes = capacity
        self.source = source
        base.initializeMemory(as: UInt64.self, repeating: UInt64(Self.headerUnits), count: 1)
    }

    deinit {
        source.release(base, bytes: reservedBytes)
    }

    @inlinable var cursor: UnsafeMutablePointer<Atomic<UInt64>> {
        base.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Hands out `bytes` bytes, aligned to 8, of undefined content.
    /// - Returns: the place in units from ``base``, or 0 when it does not fit.
    /// - Complexity: O(1), about a nanosecond.
    @inlinable
    public func allocate(bytes: Int) -> UInt32 {
        let start = cursor.pointee.load(ordering: .relaxed)
        let end = start &+ UInt64(truncatingIfNeeded: (bytes &+ 7) >> 3)
        guard bytes >= 0, end <= limit else { return 0 }
        cursor.pointee.store(end, ordering: .relaxed)
        return UInt32(truncatingIfNeeded: start)
    }

    /// As ``allocate(bytes:)``, for several threads at the same time; not together with that one.
    /// - Returns: 0 when it does not fit, or when others are just finding out that theirs does not.
    @inlinable
    public func allocateConcurrently(bytes: Int) -> UInt32 {
        let units = UInt64(truncatingIfNeeded: (bytes &+ 7) >> 3)
        guard bytes >= 0, units <= limit else { return 0 }
        let end = cursor.pointee.add(units, ordering: .relaxed).newValue
        guard end <= limit else {
            // What was taken is given back; nobody has written behind the limit.
            cursor.pointee.subtract(units, ordering: .relaxed)
            return 0
        }
        return UInt32(truncatingIfNeeded: end &- units)
    }

    /// The address of a place.
    @inlinable
    public func address(of offset: UInt32) -> UnsafeMutableRawPointer {
        base + Int(offset) &<< 3
    }

    /// Bytes handed out, the header included.
    public var usedBytes: Int { Int(cursor.pointee.load(ordering: .relaxed)) * Self.unitBytes }

    /// Bytes that can still be handed out.
    public var freeBytes: Int {
        // A concurrent allocation that does not fit lifts the cursor above the limit for a moment.
        let used = cursor.pointee.load(ordering: .relaxed)
        return used < limit ? Int(limit - used) * Self.unitBytes : 0
    }

    /// Forgets everything that was handed out, keeping the touched pages. Only when no reader is left.
    public func reset() {
        cursor.pointee.store(UInt64(Self.headerUnits), ordering: .relaxed)
    }
}
