// Gathers sorted entries and lays them out as one columnar block (Docs/Formats/sstable.md, "Block"). Data and index blocks
// share this layout. It knows nothing of files, checksums or compression.

/// Byte offsets of a block's fixed header.
enum BlockField {
    static let count = 0
    static let offsetWidth = 4
    static let trailerWidth = 5
    static let prefixLength = 8
    static let size = 12
    static let trailerBase = 16
    static let columns = 24
    /// The fingerprint column is padded to this, so that it can be compared 16 at a time.
    static let fingerprintGroup = 16
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

struct BlockBuilder {
    private var keys: [UInt8] = []
    private var keyEnds: [Int] = []
    private var values: [UInt8] = []
    private var valueEnds: [Int] = []
    private var trailers: [UInt64] = []
    private var fingerprints: [UInt8] = []

    var count: Int { keyEnds.count }
    var isEmpty: Bool { keyEnds.isEmpty }

    /// Bytes of the finished block at most, give or take the shared prefix.
    func bytes(adding key: Int, _ value: Int) -> Int {
        // 17 bytes a row: head 4, ends 2 + 2, trailer 8, fingerprint 1.
        BlockField.columns + keys.count + values.count + key + value + (count + 1) * 17
    }

    /// Keys must come in order, versions of one key newest first.
    mutating func add(key: UnsafeRawBufferPointer, hash: UInt64, trailer: UInt64, value: UnsafeRawBufferPointer) {
        keys.append(contentsOf: key)
        keyEnds.append(keys.count)
        values.append(contentsOf: value)
        valueEnds.append(values.count)
        trailers.append(trailer)
        fingerprints.append(keyFingerprint(hash))
    }

    /// Appends the block to `output` and starts a new one.
    mutating func finish(into output: inout [UInt8]) {
        precondition(!isEmpty, "a block holds at least one entry")
        let start = output.count
        let prefix = sharedPrefix()
        let suffixBytes = keys.count - prefix * count
        let offsetWidth = max(suffixBytes, values.count) <= Int(UInt16.max) ? 2 : 4
        let base = trailers.min() ?? 0
        let spread = (trailers.max() ?? 0) - base
        let trailerWidth = spread == 0 ? 0 : spread <= UInt64(UInt32.max) ? 4 : 8

        output.append(littleEndian: UInt32(count))
        output.append(UInt8(offsetWidth))
        output.append(UInt8(trailerWidth))
        output.append(littleEndian: UInt16(0))
        output.append(littleEndian: UInt32(prefix))
        output.append(littleEndian: UInt32(0))
        output.append(littleEndian: base)
        output.append(contentsOf: fingerprints)
        let group = BlockField.fingerprintGroup
        output.append(contentsOf: repeatElement(0, count: (group - count % group) % group))
        appendHeads(to: &output, prefix: prefix)
        for trailer in trailers {
            if trailerWidth == 4 { output.append(littleEndian: UInt32(trailer - base)) }
            if trailerWidth == 8 { output.append(littleEndian: trailer - base) }
        }
        for (row, end) in keyEnds.enumerated() {
            output.append(offset: end - prefix * (row + 1), width: offsetWidth)
        }
        for end in valueEnds { output.append(offset: end, width: offsetWidth) }
        appendKeys(to: &output, prefix: prefix)
        output.append(contentsOf: values)
        output.store(littleEndian: UInt32(output.count - start), at: start + BlockField.size)
        removeAll()
    }

    /// Length of the prefix that all keys share: the keys are sorted, so that of the first and the last.
    private func sharedPrefix() -> Int {
        keys.withUnsafeBytes { keys in
            let lastStart = count > 1 ? keyEnds[count - 2] : 0
            let limit = min(keyEnds[0], keys.count - lastStart)
            var length = 0
            while length < limit, keys[length] == keys[lastStart + length] { length += 1 }
            return length
        }
    }

    private func appendHeads(to output: inout [UInt8], prefix: Int) {
        keys.withUnsafeBytes { keys in
            var start = 0
            for end in keyEnds {
                let key = UnsafeRawBufferPointer(rebasing: keys[start..<end])
                output.append(littleEndian: keyHead(key, from: prefix))
                start = end
            }
        }
    }

    private func appendKeys(to output: inout [UInt8], prefix: Int) {
        keys.withUnsafeBytes { keys in
            output.append(contentsOf: keys[..<prefix])
            var start = 0
            for end in keyEnds {
                output.append(contentsOf: keys[start + prefix..<end])
                start = end
            }
        }
    }

    private mutating func removeAll() {
        keys.removeAll(keepingCapacity: true)
        keyEnds.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        valueEnds.removeAll(keepingCapacity: true)
        trailers.removeAll(keepingCapacity: true)
        fingerprints.removeAll(keepingCapacity: true)
    }
}

extension [UInt8] {
    fileprivate mutating func append(offset: Int, width: Int) {
        if width == 2 {
            append(littleEndian: UInt16(offset))
        } else {
            append(littleEndian: UInt32(offset))
        }
    }
}
