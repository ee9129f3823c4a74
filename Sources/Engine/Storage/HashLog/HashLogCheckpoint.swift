// The one small file that says what counts: which data files there are, how many of their bytes are durable, and up to
// which log entry they hold everything. It is replaced as a whole. What data files hold beyond it was never promised to
// anybody, is cut when the store is opened, and comes again from the log.
internal import CEngine
internal import FileIO

struct HashLogCheckpoint: Hashable {
    struct Entry: Hashable {
        var number: UInt32
        /// Durable bytes.
        var bytes: UInt64
        /// Nothing more is appended to it.
        var isSealed: Bool
        var sequenceMax: UInt64
    }

    var store: UInt64
    var applied: LogPosition
    var lastSequence: UInt64
    var nextNumber: UInt32
    /// By number.
    var files: [Entry]

    static let name = "CHECKPOINT"
    static let version: UInt32 = 1
    /// "STRATAHC" read as little endian.
    static let magic: UInt64 = 0x4348_4154_4152_5453

    func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: Self.magic)
        bytes.append(littleEndian: Self.version)
        bytes.append(littleEndian: nextNumber)
        bytes.append(littleEndian: store)
        bytes.append(littleEndian: applied.index)
        bytes.append(littleEndian: applied.term)
        bytes.append(littleEndian: lastSequence)
        bytes.append(littleEndian: UInt32(files.count))
        for file in files {
            bytes.append(littleEndian: file.number)
            bytes.append(UInt8(file.isSealed ? 1 : 0))
            bytes.append(littleEndian: file.bytes)
            bytes.append(littleEndian: file.sequenceMax)
        }
        bytes.append(littleEndian: strata_crc32c(0, bytes, bytes.count))
        return bytes
    }

    /// Nil when the folder has none.
    static func read(directory: String, fileSystem: any FileSystem) throws(StorageError) -> HashLogCheckpoint? {
        let path = directory + "/" + name
        let bytes = try disk { () throws(FileIOError) in try fileSystem.readFile(path) }
        guard let bytes else { return nil }
        return try decode(bytes, path: path)
    }

    static func decode(_ bytes: [UInt8], path: String) throws(StorageError) -> HashLogCheckpoint {
        try bytes.withRawBytes { (buffer) throws(StorageError) in
            let corrupt = StorageError.corruption(path: path, position: 0, detail: "it is no whole checkpoint")
            var tail = ByteReader(buffer, from: buffer.count - 4)
            var reader = ByteReader(buffer)
            guard buffer.count > 4, reader.read(UInt64.self) == magic, let version = reader.read(UInt32.self),
                tail.read(UInt32.self) == strata_crc32c(0, buffer.baseAddress, buffer.count - 4)
            else { throw corrupt }
            guard version == self.version else {
                throw .unsupportedVersion(path: path, found: version, supported: self.version)
            }
            guard let nextNumber = reader.read(UInt32.self), let store = reader.read(UInt64.self),
                let index = reader.read(UInt64.self), let term = reader.read(UInt64.self),
                let lastSequence = reader.read(UInt64.self), let count = reader.read(UInt32.self)
            else { throw corrupt }
            var files: [Entry] = []
            for _ in 0..<count {
                guard let number = reader.read(UInt32.self), let sealed = reader.read(UInt8.self),
                    let bytes = reader.read(UInt64.self), let sequenceMax = reader.read(UInt64.self)
                else { throw corrupt }
                files.append(Entry(number: number, bytes: bytes, isSealed: sealed == 1, sequenceMax: sequenceMax))
            }
            guard reader.remaining == 4 else { throw corrupt }
            let checkpoint = HashLogCheckpoint(
                store: store, applied: LogPosition(index: index, term: term), lastSequence: lastSequence,
                nextNumber: nextNumber, files: files)
            guard checkpoint.isPlausible else { throw corrupt }
            return checkpoint
        }
    }

    /// False when the store can't have come to this, whatever the checksum says.
    private var isPlausible: Bool {
        guard lastSequence < StorageLimits.countMax, applied.index < StorageLimits.countMax else { return false }
        var previous: UInt32 = 0
        for file in files {
            // A file that was begun for the next operation has its sequence already.
            guard previous < file.number, file.number < nextNumber, file.bytes <= UInt64(UInt32.max),
                file.sequenceMax <= lastSequence + 1
            else { return false }
            previous = file.number
        }
        return nextNumber < KeySlot.removed && files.count { !$0.isSealed } <= 1
    }
}

/// The names of the files in a hash log's folder.
enum HashLogFile: Hashable {
    case data(UInt32)
    case hint(UInt32)

    var name: String {
        switch self {
        case .data(let number): Self.padded(number) + ".data"
        case .hint(let number): Self.padded(number) + ".hint"
        }
    }

    /// Nil for a name that no hash log makes.
    init?(_ name: String) {
        if name.hasSuffix(".data"), let number = UInt32(name.dropLast(5)) {
            self = .data(number)
        } else if name.hasSuffix(".hint"), let number = UInt32(name.dropLast(5)) {
            self = .hint(number)
        } else {
            return nil
        }
    }

    var number: UInt32 {
        switch self {
        case .data(let number), .hint(let number): number
        }
    }

    private static func padded(_ number: UInt32) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, 6 - text.count)) + text
    }
}
