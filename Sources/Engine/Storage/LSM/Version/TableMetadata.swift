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
    /// True when `largest` is the end of a range delete: no key of the table itself.
    var isLargestExcluded = false

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
        for tombstone in summary.rangeDeletes {
            if tombstone.start.lexicographicallyPrecedes(smallest) { smallest = tombstone.start }
            if largest.lexicographicallyPrecedes(tombstone.end) {
                largest = tombstone.end
                isLargestExcluded = true
            }
            sequenceMin = min(sequenceMin, tombstone.sequence)
            sequenceMax = max(sequenceMax, tombstone.sequence)
        }
    }

    /// True when `key` lies in the table's range.
    func covers(_ key: UnsafeRawBufferPointer) -> Bool {
        smallest.withUnsafeBytes { compare($0, key) } <= 0 && !lies(before: key)
    }

    /// True when every key of the table comes before `key`.
    func lies(before key: UnsafeRawBufferPointer) -> Bool {
        let order = largest.withUnsafeBytes { compare($0, key) }
        return order < 0 || order == 0 && isLargestExcluded
    }

    /// True when the key ranges meet.
    func overlaps(_ other: TableMetadata) -> Bool {
        !other.smallest.withUnsafeBytes { lies(before: $0) } && !smallest.withUnsafeBytes { other.lies(before: $0) }
    }

    /// True when the table can hold a key from `from` up to `to` (excluded; nil: no end).
    func overlaps(from: [UInt8], to: [UInt8]?) -> Bool {
        if from.withUnsafeBytes({ lies(before: $0) }) { return false }
        guard let to else { return true }
        return smallest.withUnsafeBytes { smallest in to.withUnsafeBytes { compare(smallest, $0) } } < 0
    }

    /// Widens the key range so that it encloses another one.
    mutating func extend(by other: TableMetadata) {
        if other.smallest.lexicographicallyPrecedes(smallest) { smallest = other.smallest }
        if largest == other.largest {
            isLargestExcluded = isLargestExcluded && other.isLargestExcluded
        } else if largest.lexicographicallyPrecedes(other.largest) {
            largest = other.largest
            isLargestExcluded = other.isLargestExcluded
        }
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
