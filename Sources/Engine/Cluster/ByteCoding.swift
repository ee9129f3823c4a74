// Little-endian reading and writing of the cluster's own messages. The reader never trusts a length: it answers nil at
// the end of the input and the caller refuses the message.

struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func write<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func write(counted: some Collection<UInt8>) {
        write(UInt32(counted.count))
        bytes.append(contentsOf: counted)
    }

    /// Reserves four bytes for a length that is known later.
    mutating func reserveLength() -> Int {
        write(UInt32(0))
        return bytes.count
    }

    /// Fills in the length of what was written since ``reserveLength()``, and of what somebody else is going to add.
    mutating func fillLength(from start: Int, adding more: Int = 0) {
        fill(UInt32(bytes.count - start + more), at: start - 4)
    }

    /// Overwrites what was written at `position`.
    mutating func fill(_ value: UInt32, at position: Int) {
        for i in 0..<4 { bytes[position + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(i))) }
    }
}

struct ByteReader {
    let bytes: ArraySlice<UInt8>
    private(set) var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    var isAtEnd: Bool { position == bytes.endIndex }

    mutating func read<T: FixedWidthInteger>(_ type: T.Type) -> T? {
        let size = MemoryLayout<T>.size
        guard bytes.endIndex - position >= size else { return nil }
        var value: T = 0
        for i in 0..<size { value |= T(truncatingIfNeeded: bytes[position + i]) << T(8 * i) }
        position += size
        return value
    }

    mutating func readCounted() -> ArraySlice<UInt8>? {
        guard let count = read(UInt32.self), bytes.endIndex - position >= Int(count) else { return nil }
        defer { position += Int(count) }
        return bytes[position..<position + Int(count)]
    }
}
