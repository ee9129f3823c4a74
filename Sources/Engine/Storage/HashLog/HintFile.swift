// The hint of a sealed data file: its keys and where they are, without the values, so that a boot need not read the
// data. It is derived: a missing, torn or damaged hint costs a scan of the data file and nothing else, so it is never
// synced.
internal import CEngine
internal import FileIO

/// One record as a hint tells it.
struct HintEntry {
    var timestamp: UInt32
    var valueBytes: UInt32
    var offset: UInt32
    var key: UnsafeRawBufferPointer
}

enum HintFile {
    static let version: UInt32 = 1
    /// "STRATAHH" read as little endian.
    static let magic: UInt64 = 0x4848_4154_4152_5453
    private static let headerBytes = 40
    private static let flushBytes = 1 << 20

    /// Writes the hint of a data file of `dataBytes` bytes, checking every record of it on the way.
    static func write(
        _ path: String, for data: DataFile, dataBytes: UInt64, store: UInt64, fileSystem: any FileSystem
    ) throws(StorageError) {
        let file = try disk { () throws(FileIOError) -> any File in
            if try fileSystem.exists(path) { try fileSystem.remove(path) }
            return try fileSystem.open(path, .create)
        }
        var buffer: [UInt8] = []
        buffer.append(littleEndian: magic)
        buffer.append(littleEndian: version)
        buffer.append(littleEndian: data.number)
        buffer.append(littleEndian: store)
        buffer.append(littleEndian: dataBytes)
        buffer.append(littleEndian: UInt64(0))
        var position: UInt64 = 0
        var checksum: UInt32 = 0
        var scanner = RecordScanner(data, end: dataBytes)
        while try scanner.next({ (offset, header, record) in
            buffer.append(littleEndian: header.timestamp)
            buffer.append(littleEndian: header.keyBytes)
            buffer.append(littleEndian: header.valueBytes)
            buffer.append(littleEndian: offset)
            buffer.append(contentsOf: header.key(record))
        }) {
            if buffer.count < flushBytes { continue }
            checksum = strata_crc32c(checksum, buffer, buffer.count)
            try disk { () throws(FileIOError) in try file.write(bytes: buffer, at: position) }
            position += UInt64(buffer.count)
            buffer.removeAll(keepingCapacity: true)
        }
        buffer.append(littleEndian: strata_crc32c(checksum, buffer, buffer.count))
        try disk { () throws(FileIOError) in try file.write(bytes: buffer, at: position) }
    }

    /// Gives every entry of a good hint to `body`. False, before any call, when there is no hint that fits the data.
    static func read(
        _ path: String, for data: DataFile, dataBytes: UInt64, store: UInt64, fileSystem: any FileSystem,
        _ body: (HintEntry) throws(StorageError) -> Void
    ) throws(StorageError) -> Bool {
        let bytes: [UInt8]?
        do throws(FileIOError) {
            bytes = try fileSystem.readFile(path)
        } catch {
            // The data file holds all that the hint does.
            return false
        }
        guard let bytes, bytes.count >= headerBytes + 4 else { return false }
        return try bytes.withRawBytes { (buffer) throws(StorageError) in
            var tail = ByteReader(buffer, from: buffer.count - 4)
            guard tail.read(UInt32.self) == strata_crc32c(0, buffer.baseAddress, buffer.count - 4) else { return false }
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: buffer[..<(buffer.count - 4)]))
            guard reader.read(UInt64.self) == magic, reader.read(UInt32.self) == version,
                reader.read(UInt32.self) == data.number, reader.read(UInt64.self) == store,
                reader.read(UInt64.self) == dataBytes, reader.read(UInt64.self) != nil
            else { return false }
            guard describes(reader, dataBytes) else { return false }
            while let entry = entry(&reader) { try body(entry) }
            return true
        }
    }

    /// True when the entries are the records of a data file of so many bytes, one after another without a gap.
    private static func describes(_ entries: ByteReader, _ dataBytes: UInt64) -> Bool {
        var reader = entries
        var position = UInt64(DataFile.headerBytes)
        while let entry = entry(&reader) {
            guard UInt64(entry.offset) == position, entry.key.count <= StorageLimits.keyBytesMax,
                entry.valueBytes == Record.tombstone || Int(entry.valueBytes) <= StorageLimits.valueBytesMax
            else { return false }
            position += UInt64(Record.bytes(key: entry.key.count, value: entry.valueBytes))
        }
        return reader.remaining == 0 && position == dataBytes
    }

    private static func entry(_ reader: inout ByteReader) -> HintEntry? {
        guard let timestamp = reader.read(UInt32.self), let keyBytes = reader.read(UInt32.self),
            let valueBytes = reader.read(UInt32.self), let offset = reader.read(UInt32.self),
            let key = reader.readBytes(UInt64(keyBytes))
        else { return nil }
        return HintEntry(timestamp: timestamp, valueBytes: valueBytes, offset: offset, key: key)
    }
}
