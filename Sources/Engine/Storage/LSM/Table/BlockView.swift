// Reads one columnar block in place. `init` checks every offset once, so that nothing after it can leave the buffer,
// whatever the bytes are; the caller keeps the buffer alive and has checked its checksum.
internal import CEngine

/// A checked, unowned view of a block's bytes.
struct BlockView {
    private let base: UnsafeRawPointer
    let count: Int
    private let wideOffsets: Bool
    private let trailerWidth: Int
    private let trailerBase: UInt64
    let prefix: UnsafeRawBufferPointer
    private let heads: UnsafeRawPointer
    private let trailers: UnsafeRawPointer
    private let keyEnds: UnsafeRawPointer
    private let valueEnds: UnsafeRawPointer
    private let suffixes: UnsafeRawPointer
    private let values: UnsafeRawPointer

    /// Nil when the columns contradict each other or the buffer's size.
    /// - Parameter isKnown: the same bytes passed before, so the columns need no second look.
    /// - Complexity: O(entries); O(1) when the bytes are known.
    init?(_ buffer: UnsafeRawBufferPointer, isKnown: Bool = false) {
        guard buffer.count > BlockField.columns, let base = buffer.baseAddress else { return nil }
        let count = Int(UInt32(littleEndian: base.loadUnaligned(fromByteOffset: BlockField.count, as: UInt32.self)))
        let offsetWidth = Int(base.load(fromByteOffset: BlockField.offsetWidth, as: UInt8.self))
        let trailerWidth = Int(base.load(fromByteOffset: BlockField.trailerWidth, as: UInt8.self))
        let prefixLength = Int(
            UInt32(littleEndian: base.loadUnaligned(fromByteOffset: BlockField.prefixLength, as: UInt32.self)))
        let size = Int(UInt32(littleEndian: base.loadUnaligned(fromByteOffset: BlockField.size, as: UInt32.self)))
        guard count > 0, size == buffer.count, offsetWidth == 2 || offsetWidth == 4,
            trailerWidth == 0 || trailerWidth == 4 || trailerWidth == 8
        else { return nil }
        let group = BlockField.fingerprintGroup
        // Both factors are below 2^32 and below 2^5: no overflow in 64 bits.
        let headStart = BlockField.columns + (count + group - 1) / group * group
        let prefixStart = headStart + count * (4 + trailerWidth + 2 * offsetWidth)
        guard prefixStart + prefixLength <= size else { return nil }
        self.base = base
        self.count = count
        self.trailerWidth = trailerWidth
        wideOffsets = offsetWidth == 4
        trailerBase = UInt64(
            littleEndian: base.loadUnaligned(fromByteOffset: BlockField.trailerBase, as: UInt64.self))
        heads = base + headStart
        trailers = heads + count * 4
        keyEnds = trailers + count * trailerWidth
        valueEnds = keyEnds + count * offsetWidth
        prefix = UnsafeRawBufferPointer(start: base + prefixStart, count: prefixLength)
        suffixes = base + prefixStart + prefixLength
        let room = size - prefixStart - prefixLength
        let wide = offsetWidth == 4
        guard let suffixBytes = Self.lastEnd(keyEnds, count, wide, isKnown), suffixBytes <= room,
            let valueBytes = Self.lastEnd(valueEnds, count, wide, isKnown), suffixBytes + valueBytes == room
        else { return nil }
        values = suffixes + suffixBytes
    }

    /// The last of a column of ends, or nil when the column ever falls.
    private static func lastEnd(_ column: UnsafeRawPointer, _ count: Int, _ wide: Bool, _ isKnown: Bool) -> Int? {
        if isKnown { return load(column, count &- 1, wide) }
        var previous = 0
        for row in 0..<count {
            let end = load(column, row, wide)
            if end < previous { return nil }
            previous = end
        }
        return previous
    }

    @inline(__always)  // single loads of the search loops below
    private static func load(_ column: UnsafeRawPointer, _ row: Int, _ wide: Bool) -> Int {
        wide
            ? Int(UInt32(littleEndian: column.loadUnaligned(fromByteOffset: row &* 4, as: UInt32.self)))
            : Int(UInt16(littleEndian: column.loadUnaligned(fromByteOffset: row &* 2, as: UInt16.self)))
    }

    /// What of the key follows the shared prefix.
    func suffix(_ row: Int) -> UnsafeRawBufferPointer {
        let start = row == 0 ? 0 : Self.load(keyEnds, row &- 1, wideOffsets)
        let end = Self.load(keyEnds, row, wideOffsets)
        return UnsafeRawBufferPointer(start: suffixes + start, count: end &- start)
    }

    func value(_ row: Int) -> UnsafeRawBufferPointer {
        let start = row == 0 ? 0 : Self.load(valueEnds, row &- 1, wideOffsets)
        let end = Self.load(valueEnds, row, wideOffsets)
        return UnsafeRawBufferPointer(start: values + start, count: end &- start)
    }

    func trailer(_ row: Int) -> UInt64 {
        switch trailerWidth {
        case 0: trailerBase
        case 4:
            trailerBase
                &+ UInt64(UInt32(littleEndian: trailers.loadUnaligned(fromByteOffset: row &* 4, as: UInt32.self)))
        default:
            trailerBase &+ UInt64(littleEndian: trailers.loadUnaligned(fromByteOffset: row &* 8, as: UInt64.self))
        }
    }

    /// The newest version of exactly `key` whose trailer is at most `trailer`, found by fingerprint without a search.
    func find(_ key: UnsafeRawBufferPointer, hash: UInt64, trailer limit: UInt64) -> Int? {
        guard key.count >= prefix.count, compare(UnsafeRawBufferPointer(rebasing: key[..<prefix.count]), prefix) == 0
        else { return nil }
        let rest = UnsafeRawBufferPointer(rebasing: key[prefix.count...])
        let fingerprint = keyFingerprint(hash)
        var group = 0
        while group < count {
            var matches = strata_match16(base + BlockField.columns + group, fingerprint)
            if count &- group < 16 { matches &= 1 &<< UInt32(count &- group) &- 1 }
            while matches != 0 {
                let row = group &+ matches.trailingZeroBitCount
                matches &= matches &- 1
                let candidate = suffix(row)
                if candidate.count == rest.count, compare(candidate, rest) == 0, trailer(row) <= limit { return row }
            }
            group &+= 16
        }
        return nil
    }

    /// The first row whose key is `key` or greater; `count` when there is none.
    func lowerBound(_ key: UnsafeRawBufferPointer) -> Int {
        let shared = min(prefix.count, key.count)
        let order = compare(prefix, UnsafeRawBufferPointer(rebasing: key[..<shared]))
        // Here `order` compares the prefix with as much of the key: a longer prefix of an equal start is greater.
        if order > 0 { return 0 }
        if order < 0 { return count }
        let rest = UnsafeRawBufferPointer(rebasing: key[prefix.count...])
        let head = keyHead(rest, from: 0)
        var low = 0
        var high = count
        while low < high {
            let middle = (low &+ high) &>> 1
            let other = UInt32(littleEndian: heads.loadUnaligned(fromByteOffset: middle &* 4, as: UInt32.self))
            let before = other != head ? other < head : compare(suffix(middle), rest) < 0
            if before { low = middle &+ 1 } else { high = middle }
        }
        return low
    }
}
