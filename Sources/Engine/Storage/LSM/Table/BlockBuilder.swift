// Gathers sorted entries and lays them out as one columnar block (Docs/Formats/sstable.md, "Block"). Data and index
// blocks share this layout. It knows nothing of files, checksums or compression.

/// Byte offsets of a block's fixed header.
enum BlockField {
    static let count = 0
    static let keyWidth = 4
    static let trailerWidth = 5
    static let valueWidth = 6
    static let prefixLength = 8
    static let size = 12
    static let trailerBase = 16
    static let columns = 24
    /// The fingerprint column is padded to this, so that it can be compared 16 at a time.
    static let fingerprintGroup = 16
    /// Of the one number that stands for a column of ends whose rows all have the same size.
    static let evenSizeBytes = 4
}

/// Bytes `start ..< start + 4` of a key as a big-endian value, zero-padded, so that integer order is byte order.
@inline(__always)  // inner loop of block searches
func keyHead(_ key: UnsafeRawBufferPointer, from start: Int) -> UInt32 {
    if key.count >= start &+ 4 {
        return UInt32(bigEndian: key.loadUnaligned(fromByteOffset: start, as: UInt32.self))
    }
    var head: UInt32 = 0
    for position in start..<start &+ 4 {
        head = head &<< 8 | (position < key.count ? UInt32(key[position]) : 0)
    }
    return head
}

/// The byte of a key's hash that the block stores beside the key.
@inline(__always)
func keyFingerprint(_ hash: UInt64) -> UInt8 {
    UInt8(truncatingIfNeeded: hash &>> 24)
}

struct BlockBuilder: ~Copyable {
    private var keys = ByteColumn(capacity: 4096)
    private var values = ByteColumn(capacity: 8192)
    /// Where each row's key and value end, 32 bits each: a block stays below ``BlockFrame/sizeMax``.
    private var keyEnds = ByteColumn(capacity: 1024)
    private var valueEnds = ByteColumn(capacity: 1024)
    private var trailers = ByteColumn(capacity: 2048)
    private var fingerprints = ByteColumn(capacity: 256)
    /// False once a row's key or value is of another size than the first row's.
    private var isKeyEven = true
    private var isValueEven = true
    private var trailerLeast = UInt64.max
    private var trailerMost: UInt64 = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// Bytes of the finished block at most, give or take the shared prefix.
    func bytes(adding key: Int, _ value: Int) -> Int {
        // 17 bytes a row: head 4, ends 2 + 2, trailer 8, fingerprint 1.
        BlockField.columns &+ keys.count &+ values.count &+ key &+ value &+ (count &+ 1) &* 17
    }

    /// Keys must come in order, versions of one key newest first.
    mutating func add(key: UnsafeRawBufferPointer, hash: UInt64, trailer: UInt64, value: UnsafeRawBufferPointer) {
        isKeyEven = isKeyEven && key.count &* count == keys.count
        isValueEven = isValueEven && value.count &* count == values.count
        keys.append(key)
        values.append(value)
        precondition(max(keys.count, values.count) <= BlockFrame.sizeMax, "a block stays below 1 GiB")
        keyEnds.append(UInt32(truncatingIfNeeded: keys.count))
        valueEnds.append(UInt32(truncatingIfNeeded: values.count))
        trailers.append(trailer)
        fingerprints.append(keyFingerprint(hash))
        trailerLeast = min(trailerLeast, trailer)
        trailerMost = max(trailerMost, trailer)
        count &+= 1
    }

    /// Appends the block to `output` and starts a new one.
    mutating func finish(into output: inout [UInt8]) {
        precondition(!isEmpty, "a block holds at least one entry")
        let prefix = sharedPrefix()
        let layout = BlockLayout(
            count: count, prefix: prefix,
            keys: EndColumn(bytes: keys.count - prefix * count, isEven: isKeyEven),
            values: EndColumn(bytes: values.count, isEven: isValueEven), trailerSpread: trailerMost - trailerLeast)
        let start = output.count
        output.append(contentsOf: repeatElement(0, count: layout.size))
        output.withUnsafeMutableBytes { output in
            let block = UnsafeMutableRawBufferPointer(rebasing: output[start...])
            storeHeader(layout, in: block)
            storeRows(layout, in: block)
            storeEnds(layout, in: block)
            storeBytes(layout, in: block)
        }
        removeAll()
    }

    /// Length of the prefix that all keys share: the keys are sorted, so that of the first and the last.
    private func sharedPrefix() -> Int {
        let keys = keys.bytes
        let lastStart = count > 1 ? Int(keyEnds.value(count - 2, as: UInt32.self)) : 0
        let limit = min(Int(keyEnds.value(0, as: UInt32.self)), keys.count - lastStart)
        var length = 0
        while length < limit, keys[length] == keys[lastStart + length] { length += 1 }
        return length
    }

    private func storeHeader(_ layout: BlockLayout, in block: UnsafeMutableRawBufferPointer) {
        block.store(UInt32(count), at: BlockField.count)
        block[BlockField.keyWidth] = UInt8(layout.keys.width)
        block[BlockField.trailerWidth] = UInt8(layout.trailerWidth)
        block[BlockField.valueWidth] = UInt8(layout.values.width)
        block.store(UInt32(layout.prefix), at: BlockField.prefixLength)
        block.store(UInt32(layout.size), at: BlockField.size)
        block.store(trailerLeast, at: BlockField.trailerBase)
    }

    private func storeRows(_ layout: BlockLayout, in block: UnsafeMutableRawBufferPointer) {
        block.copy(fingerprints.bytes, to: BlockField.columns)
        let keys = keys.bytes
        var start = 0
        for row in 0..<count {
            let end = Int(keyEnds.value(row, as: UInt32.self))
            let key = UnsafeRawBufferPointer(rebasing: keys[start..<end])
            block.store(keyHead(key, from: layout.prefix), at: layout.heads &+ row &* 4)
            start = end
            let trailer = trailers.value(row, as: UInt64.self) &- trailerLeast
            switch layout.trailerWidth {
            case 0: break
            case 2: block.store(UInt16(truncatingIfNeeded: trailer), at: layout.trailers &+ row &* 2)
            case 4: block.store(UInt32(truncatingIfNeeded: trailer), at: layout.trailers &+ row &* 4)
            default: block.store(trailer, at: layout.trailers &+ row &* 8)
            }
        }
    }

    private func storeEnds(_ layout: BlockLayout, in block: UnsafeMutableRawBufferPointer) {
        store(keyEnds, layout.keys, at: layout.keyEnds, without: layout.prefix, in: block)
        store(valueEnds, layout.values, at: layout.valueEnds, without: 0, in: block)
    }

    /// - Parameter dropped: bytes of each row that are not in the region.
    private func store(
        _ ends: borrowing ByteColumn, _ column: EndColumn, at start: Int, without dropped: Int,
        in block: UnsafeMutableRawBufferPointer
    ) {
        if column.width == 0 {
            block.store(ends.value(0, as: UInt32.self) - UInt32(dropped), at: start)
            return
        }
        for row in 0..<count {
            let end = ends.value(row, as: UInt32.self) &- UInt32(truncatingIfNeeded: dropped &* (row &+ 1))
            if column.width == 2 {
                block.store(UInt16(truncatingIfNeeded: end), at: start &+ row &* 2)
            } else {
                block.store(end, at: start &+ row &* 4)
            }
        }
    }

    private func storeBytes(_ layout: BlockLayout, in block: UnsafeMutableRawBufferPointer) {
        let keys = keys.bytes
        block.copy(UnsafeRawBufferPointer(rebasing: keys[..<layout.prefix]), to: layout.prefixStart)
        var place = layout.prefixStart + layout.prefix
        var start = 0
        for row in 0..<count {
            let end = Int(keyEnds.value(row, as: UInt32.self))
            block.copy(UnsafeRawBufferPointer(rebasing: keys[start &+ layout.prefix..<end]), to: place)
            place &+= end &- start &- layout.prefix
            start = end
        }
        block.copy(values.bytes, to: place)
        precondition(place + values.count == layout.size, "a block is as large as was reckoned")
    }

    private mutating func removeAll() {
        keys.removeAll()
        values.removeAll()
        keyEnds.removeAll()
        valueEnds.removeAll()
        trailers.removeAll()
        fingerprints.removeAll()
        isKeyEven = true
        isValueEven = true
        trailerLeast = .max
        trailerMost = 0
        count = 0
    }
}

/// A column that says where each row's bytes end in their region.
private struct EndColumn {
    /// Bytes of the region.
    let bytes: Int
    /// Bytes of one end; 0: all rows have the same size, which is the column's only number.
    let width: Int

    init(bytes: Int, isEven: Bool) {
        self.bytes = bytes
        width = isEven ? 0 : bytes <= Int(UInt16.max) ? 2 : 4
    }

    func size(rows: Int) -> Int { width == 0 ? BlockField.evenSizeBytes : width * rows }
}

/// Where the columns of a finished block begin.
private struct BlockLayout {
    let prefix: Int
    let keys: EndColumn
    let values: EndColumn
    let trailerWidth: Int
    let heads: Int
    let trailers: Int
    let keyEnds: Int
    let valueEnds: Int
    let prefixStart: Int
    let size: Int

    init(count: Int, prefix: Int, keys: EndColumn, values: EndColumn, trailerSpread: UInt64) {
        let group = BlockField.fingerprintGroup
        self.prefix = prefix
        self.keys = keys
        self.values = values
        trailerWidth =
            switch trailerSpread {
            case 0: 0
            case ...UInt64(UInt16.max): 2
            case ...UInt64(UInt32.max): 4
            default: 8
            }
        heads = BlockField.columns + (count + group - 1) / group * group
        trailers = heads + count * 4
        keyEnds = trailers + count * trailerWidth
        valueEnds = keyEnds + keys.size(rows: count)
        prefixStart = valueEnds + values.size(rows: count)
        size = prefixStart + prefix + keys.bytes + values.bytes
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Little-endian, at any offset inside.
    @inline(__always)  // inner loop of block building
    fileprivate func store<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
    }

    fileprivate func copy(_ source: UnsafeRawBufferPointer, to offset: Int) {
        precondition(offset + source.count <= count, "a copy stays inside the block")
        guard source.count > 0, let from = source.baseAddress, let start = baseAddress else { return }
        (start + offset).copyMemory(from: from, byteCount: source.count)
    }
}
