// What a table says about itself, for the manifest, for people and for the compaction picker. Never needed to read it.

struct TableProperties: Hashable, Sendable {
    /// Versions, deletes included.
    var entries: UInt64 = 0
    var deletes: UInt64 = 0
    var blocks: UInt64 = 0
    var keyBytes: UInt64 = 0
    var valueBytes: UInt64 = 0
    var sequenceMin: UInt64 = .max
    var sequenceMax: UInt64 = 0
    var smallest: [UInt8] = []
    var largest: [UInt8] = []

    mutating func count(key: UnsafeRawBufferPointer, trailer: UInt64, value: UnsafeRawBufferPointer) {
        if entries == 0 { smallest = [UInt8](key) }
        entries += 1
        if trailer & 0xff == UInt64(OperationKind.delete.rawValue) { deletes += 1 }
        keyBytes += UInt64(key.count)
        valueBytes += UInt64(value.count)
        sequenceMin = min(sequenceMin, trailer >> 8)
        sequenceMax = max(sequenceMax, trailer >> 8)
    }

    func encode() -> [UInt8] {
        var output: [UInt8] = []
        for number in [entries, deletes, blocks, keyBytes, valueBytes, sequenceMin, sequenceMax] {
            output.append(littleEndian: number)
        }
        output.append(lengthPrefixed: smallest)
        output.append(lengthPrefixed: largest)
        return output
    }

    init() {}

    init?(_ buffer: UnsafeRawBufferPointer) {
        var reader = ByteReader(buffer)
        guard let entries = reader.read(UInt64.self), let deletes = reader.read(UInt64.self),
            let blocks = reader.read(UInt64.self), let keyBytes = reader.read(UInt64.self),
            let valueBytes = reader.read(UInt64.self), let sequenceMin = reader.read(UInt64.self),
            let sequenceMax = reader.read(UInt64.self), let smallest = reader.readLengthPrefixed(),
            let largest = reader.readLengthPrefixed(), reader.remaining == 0
        else { return nil }
        self.entries = entries
        self.deletes = deletes
        self.blocks = blocks
        self.keyBytes = keyBytes
        self.valueBytes = valueBytes
        self.sequenceMin = sequenceMin
        self.sequenceMax = sequenceMax
        self.smallest = [UInt8](smallest)
        self.largest = [UInt8](largest)
    }
}
