// The keys and values of the key-value workloads. Both are computed from numbers, so that nothing has to be remembered
// but the number of a key and the version of its value: any byte that comes back can be checked.
import LabKit

/// Makes and recognises keys and values of one run.
struct KeyValueCodec: Sendable {
    /// `<8 hex digits of the run><8 hex digits of the key's number>`
    static let keyBytes = 16
    /// A value begins with the key's number and its version, 4 bytes each; below that a value can't be told apart.
    static let valueBytesMin = 8

    let seed: UInt64
    let valueBytes: Int
    private let tag: UInt32

    init(seed: UInt64, valueBytes: Int) {
        precondition(
            valueBytes >= KeyValueCodec.valueBytesMin, "a value holds at least its key's number and its version")
        self.seed = seed
        self.valueBytes = valueBytes
        tag = UInt32(truncatingIfNeeded: SeededRandom.mix(seed))
    }

    func writeKey(_ key: UInt32, into buffer: UnsafeMutableRawBufferPointer) {
        KeyValueCodec.hexadecimal(tag, into: buffer, at: 0)
        KeyValueCodec.hexadecimal(key, into: buffer, at: 8)
    }

    func keyText(_ key: UInt32) -> String {
        String(unsafeUninitializedCapacity: KeyValueCodec.keyBytes) { buffer in
            writeKey(key, into: UnsafeMutableRawBufferPointer(buffer))
            return KeyValueCodec.keyBytes
        }
    }

    /// Fills `buffer` (of `valueBytes`) with the value of a version; the bytes don't compress.
    func writeValue(key: UInt32, version: UInt32, into buffer: UnsafeMutableRawBufferPointer) {
        buffer.storeBytes(of: key.littleEndian, toByteOffset: 0, as: UInt32.self)
        buffer.storeBytes(of: version.littleEndian, toByteOffset: 4, as: UInt32.self)
        var filler = SeededRandom(seed: seed, stream: UInt64(key) << 32 | UInt64(version))
        var offset = 8
        while offset + 8 <= buffer.count {
            buffer.storeBytes(of: filler.next().littleEndian, toByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        var rest = filler.next()
        while offset < buffer.count {
            buffer[offset] = UInt8(truncatingIfNeeded: rest)
            rest >>= 8
            offset += 1
        }
    }

    /// The version of `key` that `bytes` is, when it is exactly a value that this run writes to it.
    func version(of key: UInt32, in bytes: UnsafeRawBufferPointer) -> UInt32? {
        guard bytes.count == valueBytes else { return nil }
        guard UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)) == key else { return nil }
        let version = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        var filler = SeededRandom(seed: seed, stream: UInt64(key) << 32 | UInt64(version))
        var offset = 8
        while offset + 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            if word != filler.next() { return nil }
            offset += 8
        }
        var rest = filler.next()
        while offset < bytes.count {
            if bytes[offset] != UInt8(truncatingIfNeeded: rest) { return nil }
            rest >>= 8
            offset += 1
        }
        return version
    }

    private static func hexadecimal(_ value: UInt32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int) {
        var value = value
        for position in stride(from: 7, through: 0, by: -1) {
            let digit = UInt8(truncatingIfNeeded: value & 0xF)
            buffer[offset + position] = digit < 10 ? 48 + digit : 87 + digit
            value >>= 4
        }
    }
}
