// One data file of the hash log and the records in it: the Bitcask form, a header of checksum, timestamp, key length
// and value length in front of key and value. Layout in Docs/Formats/hash-log.md. A record's checksum covers which
// store, file and offset it belongs to, so that bytes in the wrong place never pass for a record.
internal import CEngine
internal import FileIO

/// The encoding of one record.
enum Record {
    /// `u32 crc32c | u32 timestamp | u32 key bytes | u32 value bytes`.
    static let headerBytes = 16
    /// The value length of a delete.
    static let tombstone = UInt32.max

    static func bytes(key: Int, value: UInt32) -> Int {
        headerBytes + key + (value == tombstone ? 0 : Int(value))
    }
}

/// A record's header.
struct RecordHeader {
    var checksum: UInt32
    /// Logical time: the low half of the sequence. No clock is read, so replicas write the same.
    var timestamp: UInt32
    var keyBytes: UInt32
    var valueBytes: UInt32

    var recordBytes: Int { Record.bytes(key: Int(keyBytes), value: valueBytes) }
    var isTombstone: Bool { valueBytes == Record.tombstone }

    /// Nil unless the lengths are ones that a store writes.
    init?(_ bytes: UnsafeRawBufferPointer) {
        var reader = ByteReader(bytes)
        guard let checksum = reader.read(UInt32.self), let timestamp = reader.read(UInt32.self),
            let keyBytes = reader.read(UInt32.self), let valueBytes = reader.read(UInt32.self),
            Int(keyBytes) <= StorageLimits.keyBytesMax,
            valueBytes == Record.tombstone || Int(valueBytes) <= StorageLimits.valueBytesMax
        else { return nil }
        self.checksum = checksum
        self.timestamp = timestamp
        self.keyBytes = keyBytes
        self.valueBytes = valueBytes
    }
}

/// An open data file. Immutable; what it holds grows only at its end, which its store knows.
final class DataFile: Sendable {
    let number: UInt32
    /// Not above any sequence in the file, and less than 2^32 below the greatest.
    let baseSequence: UInt64
    let file: any File
    let checksums: RecordChecksum

    static let headerBytes = 40
    static let version: UInt32 = 1
    /// "STRATAHL" read as little endian.
    static let magic: UInt64 = 0x4c48_4154_4152_5453

    init(_ file: any File, number: UInt32, baseSequence: UInt64, store: UInt64) {
        self.file = file
        self.number = number
        self.baseSequence = baseSequence
        checksums = RecordChecksum(store: store, file: number)
    }

    static func header(number: UInt32, baseSequence: UInt64, store: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: magic)
        bytes.append(littleEndian: version)
        bytes.append(littleEndian: number)
        bytes.append(littleEndian: store)
        bytes.append(littleEndian: baseSequence)
        bytes.append(littleEndian: UInt32(0))
        bytes.append(littleEndian: strata_crc32c(0, bytes, bytes.count))
        return bytes
    }

    /// Takes an open file for data file `number` of `store` after checking its header.
    static func opened(_ file: any File, number: UInt32, store: UInt64) throws(StorageError) -> DataFile {
        let bytes = try disk { () throws(FileIOError) in try file.read(count: headerBytes, at: 0) }
        let fields = bytes.withUnsafeBytes { buffer -> (UInt64, UInt32, UInt32, UInt64, UInt64, UInt32)? in
            var reader = ByteReader(buffer)
            guard let magic = reader.read(UInt64.self), let version = reader.read(UInt32.self),
                let number = reader.read(UInt32.self), let store = reader.read(UInt64.self),
                let base = reader.read(UInt64.self), reader.read(UInt32.self) != nil,
                let checksum = reader.read(UInt32.self)
            else { return nil }
            return (magic, version, number, store, base, checksum)
        }
        guard let (magic, version, found, owner, base, checksum) = fields, magic == Self.magic else {
            throw .corruption(path: file.path, position: 0, detail: "the data file's header is missing")
        }
        guard checksum == strata_crc32c(0, bytes, headerBytes - 4) else {
            throw .corruption(path: file.path, position: 0, detail: "checksum mismatch in the file header")
        }
        guard version == Self.version else {
            throw .unsupportedVersion(path: file.path, found: version, supported: Self.version)
        }
        guard found == number, owner == store else {
            throw .corruption(path: file.path, position: 0, detail: "it is data file \(found) of store \(owner)")
        }
        return DataFile(file, number: number, baseSequence: base, store: store)
    }

    func sequence(_ timestamp: UInt32) -> UInt64 {
        baseSequence &+ UInt64(timestamp &- UInt32(truncatingIfNeeded: baseSequence))
    }

    func corruption(at offset: UInt32, _ detail: String) -> StorageError {
        .corruption(path: file.path, position: UInt64(offset), detail: detail)
    }

    /// Reads the record that `slot` points to and gives it to `body` once every byte of it is checked.
    func read<Result>(
        _ slot: KeySlot, _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Result
    ) throws(StorageError) -> Result {
        let bytes = slot.recordBytes
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 16)
        defer { buffer.deallocate() }
        let count = try disk { () throws(FileIOError) in try file.read(into: buffer, at: UInt64(slot.offset)) }
        guard count == bytes else { throw corruption(at: slot.offset, "the file ends inside a record") }
        let record = UnsafeRawBufferPointer(buffer)
        try check(record, at: slot.offset)
        let header = RecordHeader(record)
        guard header?.keyBytes == slot.keyBytes, header?.valueBytes == slot.valueBytes else {
            throw corruption(at: slot.offset, "another record than the index names")
        }
        let valueStart = Record.headerBytes + Int(slot.keyBytes)
        return body(
            UnsafeRawBufferPointer(rebasing: record[Record.headerBytes..<valueStart]),
            UnsafeRawBufferPointer(rebasing: record[valueStart...]))
    }

    /// True when the record that `slot` points to has this key. Reads the key alone, and trusts it by its hash.
    func hasKey(_ key: UnsafeRawBufferPointer, _ slot: KeySlot) throws(StorageError) -> Bool {
        guard slot.keyBytes == UInt32(key.count) else { return false }
        if key.count == 0 { return true }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: key.count, alignment: 16)
        defer { buffer.deallocate() }
        let position = UInt64(slot.offset) + UInt64(Record.headerBytes)
        let count = try disk { () throws(FileIOError) in try file.read(into: buffer, at: position) }
        guard count == key.count, keyHash(UnsafeRawBufferPointer(buffer)) == slot.hash else {
            throw corruption(at: slot.offset, "the key is not the one that was written")
        }
        return compare(UnsafeRawBufferPointer(buffer), key) == 0
    }

    func check(_ record: UnsafeRawBufferPointer, at offset: UInt32) throws(StorageError) {
        var reader = ByteReader(record)
        guard let stored = reader.read(UInt32.self), stored == checksums.of(record, at: offset) else {
            throw corruption(at: offset, "checksum mismatch in a record")
        }
    }
}

/// The checksum of records of one file.
struct RecordChecksum: Sendable {
    /// CRC of what all records of the file share.
    private let seed: UInt32

    init(store: UInt64, file: UInt32) {
        var context: [UInt8] = []
        context.append(littleEndian: store)
        context.append(littleEndian: UInt64(file))
        seed = strata_crc32c(0, context, context.count)
    }

    /// CRC-32C over store, file, offset and the record behind its checksum field.
    func of(_ record: UnsafeRawBufferPointer, at offset: UInt32) -> UInt32 {
        var place = offset.littleEndian
        let head = strata_crc32c(seed, &place, 4)
        guard record.count > 4, let base = record.baseAddress else { return head }
        return strata_crc32c(head, base + 4, record.count - 4)
    }
}

extension [UInt8] {
    /// Appends a record that will stand at `offset` of its file. `value` nil: a delete.
    mutating func appendRecord(
        sequence: UInt64, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer?, at offset: UInt32,
        _ checksums: RecordChecksum
    ) {
        let start = count
        append(littleEndian: UInt32(0))
        append(littleEndian: UInt32(truncatingIfNeeded: sequence))
        append(littleEndian: UInt32(key.count))
        append(littleEndian: value.map { UInt32($0.count) } ?? Record.tombstone)
        append(contentsOf: key)
        if let value { append(contentsOf: value) }
        let checksum = withUnsafeBytes { bytes in
            checksums.of(UnsafeRawBufferPointer(rebasing: bytes[start...]), at: offset)
        }
        store(littleEndian: checksum, at: start)
    }
}
