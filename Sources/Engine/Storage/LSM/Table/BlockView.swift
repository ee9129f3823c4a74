// Reads one columnar block in place. `init` checks every offset once, so that nothing after it can leave the buffer,
// whatever the bytes are; the caller keeps the buffer alive and has checked its checksum.
internal import CEngine

/// A checked, unowned view of a block's bytes.
struct BlockView {
    private let base: UnsafeRawPointer
    let count: Int
    private let trailerWidth: Int
    private let trailerBase: UInt64
    let prefix: UnsafeRawBufferPointer
    private let heads: UnsafeRawPointer
    private let trailers: UnsafeRawPointer
    private let keyEnds: BlockEnds
    private let valueEnds: BlockEnds
    private let suffixes: UnsafeRawPointer
    private let values: UnsafeRawPointer

    /// Nil when the columns contradict each other or the buffer's size.
    /// - Parameter isKnown: the same bytes passed before, so the columns need no second look.
    /// - Complexity: O(entries); O(1) when the bytes are known.
    init?(_ buffer: UnsafeRawBufferPointer, isKnown: Bool = false) {
        guard buffer.count > BlockField.columns, let base = buffer.baseAddress else { return nil }
        let count = Int(UInt32(littleEndian: base.loadUnaligned(fromByteOffset: BlockField.count, as: UInt32.self)))
        let keyWidth = Int(base.load(fromByteOffset: BlockField.keyWidth, as: UInt8.self))
        let valueWidth = Int(base.load(fromByteOffset: BlockField.valueWidth, as: UInt8.self))
        let trailerWidth = Int(base.load(fromByteOffset: BlockField.trailerWidth, as: UInt8.self))
        let prefixLength = Int(
            UInt32(littleEndian: base.loadUnaligned(fromByteOffset: BlockField.prefixLength, as: UInt32.self)))
        let size = Int(UInt32(littleEndian: base.loadUnaligned(fromByteOffset: BlockField.size, as: UInt32.self)))
        guard count > 0, size == buffer.count, count < size, BlockEnds.isWidth(keyWidth),
            BlockEnds.isWidth(valueWidth), [0, 2, 4, 8].contains(trailerWidth)
        else { return nil }
        let group = BlockField.fingerprintGroup
        // Both factors are below 2^32 and below 2^5: no overflow in 64 bits.
        let headStart = BlockField.columns + (count + group - 1) / group * group
        let keyEndStart = headStart + count * (4 + trailerWidth)
        let valueEndStart = keyEndStart + BlockEnds.bytes(rows: count, width: keyWidth)
        let prefixStart = valueEndStart + BlockEnds.bytes(rows: count, width: valueWidth)
        guard prefixStart + prefixLength <= size else { return nil }
        self.base = base
        self.count = count
        self.trailerWidth = trailerWidth
        trailerBase = UInt64(
            littleEndian: base.loadUnaligned(fromByteOffset: BlockField.trailerBase, as: UInt64.self))
        heads = base + headStart
        trailers = heads + count * 4
        keyEnds = BlockEnds(base + keyEndStart, width: keyWidth)
        valueEnds = BlockEnds(base + valueEndStart, width: valueWidth)
        prefix = UnsafeRawBufferPointer(start: base + prefixStart, count: prefixLength)
        suffixes = base + prefixStart + prefixLength
        let room = size - prefixStart - prefixLength
        guard let suffixBytes = keyEnds.last(rows: count, isKnown: isKnown), suffixBytes <= room,
            let valueBytes = valueEnds.last(rows: count, isKnown: isKnown), suffixBytes + valueBytes == room
        else { return nil }
        values = suffixes + suffixBytes
    }

    /// What of the key follows the shared prefix.
    func suffix(_ row: Int) -> UnsafeRawBufferPointer {
        let start = keyEnds.start(row)
        return UnsafeRawBufferPointer(start: suffixes + start, count: keyEnds.end(row) &- start)
    }

    func value(_ row: Int) -> UnsafeRawBufferPointer {
        let start = valueEnds.start(row)
        return UnsafeRawBufferPointer(start: values + start, count: valueEnds.end(row) &- start)
    }

    func trailer(_ row: Int) -> UInt64 {
        switch trailerWidth {
        case 0: trailerBase
        case 2:
            trailerBase
                &+ UInt64(UInt16(littleEndian: trailers.loadUnaligned(fromByteOffset: row &* 2, as: UInt16.self)))
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

/// A column of ends: where each row's bytes end in their region. Width 0: all rows have the same size.
private struct BlockEnds {
    private let column: UnsafeRawPointer
    private let width: Int
    /// Bytes of each row when the width is 0.
    private let evenSize: Int

    static func isWidth(_ width: Int) -> Bool { width == 0 || width == 2 || width == 4 }

    static func bytes(rows: Int, width: Int) -> Int { width == 0 ? BlockField.evenSizeBytes : rows * width }

    /// - Parameter column: the bytes of all rows' ends, which the caller knows to lie inside the block.
    init(_ column: UnsafeRawPointer, width: Int) {
        self.column = column
        self.width = width
        evenSize = width == 0 ? Int(UInt32(littleEndian: column.loadUnaligned(as: UInt32.self))) : 0
    }

    @inline(__always)  // single loads of the search loops above
    func end(_ row: Int) -> Int {
        switch width {
        case 0: evenSize &* (row &+ 1)
        case 2: Int(UInt16(littleEndian: column.loadUnaligned(fromByteOffset: row &* 2, as: UInt16.self)))
        default: Int(UInt32(littleEndian: column.loadUnaligned(fromByteOffset: row &* 4, as: UInt32.self)))
        }
    }

    @inline(__always)
    func start(_ row: Int) -> Int { row == 0 ? 0 : end(row &- 1) }

    /// The last end, or nil when the column ever falls.
    func last(rows: Int, isKnown: Bool) -> Int? {
        if width == 0 {
            let product = evenSize.multipliedReportingOverflow(by: rows)
            return product.overflow ? nil : product.partialValue
        }
        if isKnown { return end(rows &- 1) }
        var previous = 0
        for row in 0..<rows {
            let end = end(row)
            if end < previous { return nil }
            previous = end
        }
        return previous
    }
}
