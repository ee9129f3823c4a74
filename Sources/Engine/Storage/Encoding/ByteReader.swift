// Walks foreign bytes: each step says whether the bytes were there. The reading half of every format of this module; it
// must never read outside its buffer, whatever the bytes say.

/// A cursor over bytes that somebody else keeps alive. Every `read` answers nil, and stays where it is, when the bytes
/// end.
struct ByteReader {
    let buffer: UnsafeRawBufferPointer
    private(set) var position = 0

    init(_ buffer: UnsafeRawBufferPointer, from position: Int = 0) {
        self.buffer = buffer
        self.position = Swift.min(Swift.max(position, 0), buffer.count)
    }

    var remaining: Int { buffer.count - position }

    @inline(__always)  // the memtable's insert loop reads each operation through these three
    mutating func read<Integer: FixedWidthInteger>(_ type: Integer.Type) -> Integer? {
        guard remaining >= MemoryLayout<Integer>.size else { return nil }
        let value = buffer.loadUnaligned(fromByteOffset: position, as: type)
        position += MemoryLayout<Integer>.size
        return Integer(littleEndian: value)
    }

    /// LEB128; nil also when it is longer than 64 bits or not in its shortest form.
    @inline(__always)
    mutating func readVarint() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        var next = position
        while next < buffer.count, shift < 64 {
            let byte = buffer[next]
            next += 1
            if shift == 63, byte > 1 { return nil }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 {
                if byte == 0, shift > 0 { return nil }
                position = next
                return value
            }
            shift += 7
        }
        return nil
    }

    @inline(__always)
    mutating func readBytes(_ count: UInt64) -> UnsafeRawBufferPointer? {
        guard count <= UInt64(remaining) else { return nil }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[position..<position + Int(count)])
        position += Int(count)
        return bytes
    }

    @inline(__always)
    mutating func readLengthPrefixed() -> UnsafeRawBufferPointer? {
        let start = position
        guard let count = readVarint(), let bytes = readBytes(count) else {
            position = start
            return nil
        }
        return bytes
    }
}

extension [UInt8] {
    /// `withUnsafeBytes` with a typed error, which the standard library's version loses.
    @inline(__always)  // forwards only
    func withRawBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        try span.bytes.withUnsafeBytes { (buffer) throws(StorageError) in try body(buffer) }
    }
}
