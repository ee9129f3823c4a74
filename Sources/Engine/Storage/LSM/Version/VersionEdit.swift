// One change of the store's persistent state, as a manifest record: tables that came and went, and how far the log is
// covered. The first record of a manifest is an edit that describes everything.

struct VersionEdit: Hashable {
    /// Set in the first record of a manifest only.
    var format: Format?
    var nextNumber: UInt64?
    var lastSequence: UInt64?
    var applied: LogPosition?
    var added: [TableMetadata] = []
    var removed: [UInt64] = []

    struct Format: Hashable {
        var version: UInt32
        /// The store's own number, mixed into every block's checksum.
        var store: UInt64
    }

    /// The version of manifest and folder layout.
    static let formatVersion: UInt32 = 1

    private enum Tag: UInt8 {
        case format = 1
        case nextNumber = 2
        case lastSequence = 3
        case applied = 4
        case added = 5
        case removed = 6
        /// As `added`, with the largest key excluded.
        case addedOpen = 7
    }

    func encode() -> [UInt8] {
        var output: [UInt8] = []
        if let format {
            output.append(Tag.format.rawValue)
            output.append(littleEndian: format.version)
            output.append(littleEndian: format.store)
        }
        if let nextNumber {
            output.append(Tag.nextNumber.rawValue)
            output.append(varint: nextNumber)
        }
        if let lastSequence {
            output.append(Tag.lastSequence.rawValue)
            output.append(varint: lastSequence)
        }
        if let applied {
            output.append(Tag.applied.rawValue)
            output.append(varint: applied.index)
            output.append(varint: applied.term)
        }
        for table in added {
            output.append(table.isLargestExcluded ? Tag.addedOpen.rawValue : Tag.added.rawValue)
            table.encode(into: &output)
        }
        for number in removed {
            output.append(Tag.removed.rawValue)
            output.append(varint: number)
        }
        return output
    }

    init() {}

    /// - Returns: nil for bytes that no version-1 writer makes.
    init?(_ buffer: UnsafeRawBufferPointer) {
        var reader = ByteReader(buffer)
        while reader.remaining > 0 {
            guard let byte = reader.read(UInt8.self), let tag = Tag(rawValue: byte), readField(tag, &reader) else {
                return nil
            }
        }
    }

    private mutating func readField(_ tag: Tag, _ reader: inout ByteReader) -> Bool {
        switch tag {
        case .format:
            guard let version = reader.read(UInt32.self), let store = reader.read(UInt64.self) else { return false }
            format = Format(version: version, store: store)
        case .nextNumber:
            guard let number = reader.readVarint() else { return false }
            nextNumber = number
        case .lastSequence:
            guard let sequence = reader.readVarint() else { return false }
            lastSequence = sequence
        case .applied:
            guard let index = reader.readVarint(), let term = reader.readVarint() else { return false }
            applied = LogPosition(index: index, term: term)
        case .added, .addedOpen:
            guard var table = TableMetadata(&reader) else { return false }
            table.isLargestExcluded = tag == .addedOpen
            added.append(table)
        case .removed:
            guard let number = reader.readVarint() else { return false }
            removed.append(number)
        }
        return true
    }
}

/// All edits of a manifest summed up.
struct ManifestState: Hashable {
    var store: UInt64
    var nextNumber: UInt64 = 1
    var lastSequence: UInt64 = 0
    var applied = LogPosition.zero
    /// In order of addition.
    var tables: [TableMetadata] = []

    init(store: UInt64) {
        self.store = store
    }

    mutating func apply(_ edit: VersionEdit) {
        if let format = edit.format { store = format.store }
        nextNumber = max(nextNumber, edit.nextNumber ?? 0)
        lastSequence = max(lastSequence, edit.lastSequence ?? 0)
        if let position = edit.applied { applied = position }
        tables.removeAll { edit.removed.contains($0.number) }
        tables.append(contentsOf: edit.added)
    }

    /// What no store can have come to, whatever the checksums say; nil when there is nothing of that.
    var contradiction: String? {
        guard nextNumber < StorageLimits.countMax, applied.index < StorageLimits.countMax,
            lastSequence <= SkipList.sequenceMax
        else { return "it counts further than any store can" }
        for table in tables where table.number >= StorageLimits.countMax || table.sequenceMax > SkipList.sequenceMax {
            return "table \(table.number) counts further than any store can"
        }
        var numbers: [UInt64] = tables.map(\.number)
        numbers.sort()
        for (one, other) in zip(numbers, numbers.dropFirst()) where one == other {
            return "table \(one) is there twice"
        }
        for table in tables where table.largest.lexicographicallyPrecedes(table.smallest) {
            return "table \(table.number) ends before it begins"
        }
        for level in 1..<Version.levelCount {
            let run = tables.filter { $0.level == level }.sorted {
                $0.smallest.lexicographicallyPrecedes($1.smallest)
            }
            for (one, other) in zip(run, run.dropFirst()) where one.overlaps(other) {
                return "tables \(one.number) and \(other.number) of level \(level) overlap"
            }
        }
        return nil
    }

    /// One edit that says it all.
    var snapshot: VersionEdit {
        var edit = VersionEdit()
        edit.format = VersionEdit.Format(version: VersionEdit.formatVersion, store: store)
        edit.nextNumber = nextNumber
        edit.lastSequence = lastSequence
        edit.applied = applied
        edit.added = tables
        return edit
    }
}
