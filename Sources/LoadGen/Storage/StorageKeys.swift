// Keys and values as db_bench makes them, so that both engines are given the same work. Not for keys of anything else.
import LabKit

/// One thread's key: an 8-byte big-endian number, padded with '0'.
struct StorageKeys {
    static let keyBytesMin = 8

    private(set) var bytes: [UInt8]

    init(keyBytes: Int) {
        precondition(keyBytes >= StorageKeys.keyBytesMin, "a key holds at least its number")
        bytes = [UInt8](repeating: UInt8(ascii: "0"), count: keyBytes)
    }

    /// - Complexity: O(1), no allocation.
    mutating func set(_ number: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: UInt64(number).bigEndian, as: UInt64.self) }
    }

    /// The number of a key that `set` made.
    static func number(of key: UnsafeRawBufferPointer) -> Int {
        Int(truncatingIfNeeded: UInt64(bigEndian: key.loadUnaligned(as: UInt64.self)))
    }
}

/// Values: slices of a buffer of 100-byte pieces of which each half repeats the other, so that a compressor halves
/// them.
struct StorageValues {
    private static let bufferBytes = 1 << 20
    private static let pieceBytes = 100

    let buffer: [UInt8]
    private let valueBytes: Int
    private var position = 0

    init(valueBytes: Int, seed: UInt64) {
        self.valueBytes = valueBytes
        var random = SeededRandom(seed: seed)
        var buffer: [UInt8] = []
        let wanted = max(StorageValues.bufferBytes, 2 * valueBytes)
        buffer.reserveCapacity(wanted + StorageValues.pieceBytes)
        while buffer.count < wanted {
            let half = (0..<StorageValues.pieceBytes / 2).map { _ in UInt8(0x20 + random.below(0x5F)) }
            buffer += half
            buffer += half
        }
        self.buffer = buffer
    }

    /// Where the next value stands in `buffer`.
    mutating func next() -> Range<Int> {
        if position + valueBytes > buffer.count { position = 0 }
        defer { position += valueBytes }
        return position..<position + valueBytes
    }
}
