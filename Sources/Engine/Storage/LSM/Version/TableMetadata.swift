// What the manifest says about one table: enough to decide without opening it whether it can hold a key.

struct TableMetadata: Hashable, Sendable {
    var number: UInt64
    /// 0: overlapping, newest number first. 1 and deeper: sorted, disjoint.
    var level: Int
    var fileSize: UInt64
    /// CRC-32C of the whole file.
    var checksum: UInt32
    var entries: UInt64
    var deletes: UInt64
    var sequenceMin: UInt64
    var sequenceMax: UInt64
    var smallest: [UInt8]
    var largest: [UInt8]

    init(number: UInt64, level: Int, summary: TableSummary) {
        self.number = number
        self.level = level
        fileSize = summary.fileSize
        checksum = summary.checksum
        entries = summary.properties.entries
        deletes = summary.properties.deletes
        sequenceMin = summary.properties.sequenceMin
        sequenceMax = summary.properties.sequenceMax
        smallest = summary.properties.smallest
        largest = summary.properties.largest
    }

    /// True when `key` lies in the table's range.
    func covers(_ key: UnsafeRawBufferPointer) -> Bool {
        smallest.withUnsafeBytes { compare($0, key) } <= 0 && largest.withUnsafeBytes { compare($0, key) } >= 0
    }

    func encode(into output: inout [UInt8]) {
        output.append(varint: number)
        output.append(UInt8(level))
        output.append(varint: fileSize)
        output.append(littleEndian: checksum)
        output.append(varint: entries)
        output.append(varint: deletes)
        output.append(varint: sequenceMin)
        output.append(varint: sequenceMax)
        output.append(lengthPrefixed: smallest)
        output.append(lengthPrefixed: largest)
    }

    init?(_ reader: inout ByteReader) {
        guard let number = reader.readVarint(), let level = reader.read(UInt8.self), level < Version.levelCount,
            let fileSize = reader.readVarint(), let checksum = reader.read(UInt32.self),
            let entries = reader.readVarint(), let deletes = reader.readVarint(),
            let sequenceMin = reader.readVarint(), let sequenceMax = reader.readVarint(),
            let smallest = reader.readLengthPrefixed(), let largest = reader.readLengthPrefixed()
        else { return nil }
        self.number = number
        self.level = Int(level)
        self.fileSize = fileSize
        self.checksum = checksum
        self.entries = entries
        self.deletes = deletes
        self.sequenceMin = sequenceMin
        self.sequenceMax = sequenceMax
        self.smallest = [UInt8](smallest)
        self.largest = [UInt8](largest)
    }
}
