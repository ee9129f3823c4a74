// The write-ahead log of a store that stands alone: records with consecutive indexes in files whose space is reserved
// when they are begun and that are used again. Where writes are synced, the file is filled with zeros a step ahead of
// them, so that a sync changes no metadata; where they are not, nothing is written twice. One thread writes at a time.
// After a failed write or sync it never touches the log again: what the disk holds is then unknown.
internal import FileIO

/// How far a write has to get before it is acknowledged.
public enum Durability: UInt8, Sendable, Hashable, CaseIterable, Comparable {
    /// In this process's memory: lost when it crashes.
    case none
    /// In the page cache: survives a crash of the process, not of the machine.
    case process
    /// On the device: survives a power cut.
    case power

    public static func < (one: Durability, other: Durability) -> Bool { one.rawValue < other.rawValue }
}

/// The knobs of the write-ahead log.
public struct WALOptions: Sendable, Hashable {
    /// Bytes of a log file. A group of records that is larger makes its file longer.
    public var fileBytes = 64 << 20
    /// Encoded bytes that one group takes; more wait for the next.
    public var groupBytesMax = 1 << 20
    /// Seconds that a write waits for the group it is in before it gives up, its outcome unknown.
    public var waitSecondsMax = 30

    public init() {}
}

struct WriteAheadLog {
    /// A log file that holds records.
    struct Segment: Hashable {
        var number: UInt64
        var firstIndex: UInt64
    }

    let directory: String
    let fileSystem: any FileSystem
    let options: WALOptions
    /// Oldest first; the last is written to.
    private(set) var segments: [Segment]
    /// Index of the next record.
    private(set) var nextIndex: UInt64
    /// Why writing stopped for good.
    private(set) var failure: String?
    private var number: UInt64
    private var file: any File
    private var output: WALOutput
    /// Everything in front of this is durable.
    private var synced: Int
    /// Up to here the file was written before, zeros included: a sync of what is written there changes no metadata.
    private var filled: Int
    /// Logs before the current one that no sync has covered.
    private var unsynced: [(number: UInt64, file: any File)] = []
    /// A write was synced since the log was opened: it will not be the last.
    private var isSynced = false

    /// What a device writes as a whole.
    private static let sectorBytes = 512

    private static let pageBytes = 4096

    static let spareName = "spare.log"
    /// Zeros are written this many bytes at a time ahead of synced writes, a sixteenth of what the log holds already:
    /// few syncs for a long log, few bytes for a short one.
    private static let fillBytes = 4 << 10...1 << 20

    static func name(_ number: UInt64) -> String {
        let text = String(number)
        return "wal-" + String(repeating: "0", count: max(0, 6 - text.count)) + text + ".log"
    }

    /// The number in a log's name; nil for other names.
    static func number(_ name: String) -> UInt64? {
        guard name.hasPrefix("wal-"), name.hasSuffix(".log") else { return nil }
        return UInt64(name.dropFirst(4).dropLast(4)).flatMap { $0 < StorageLimits.countMax ? $0 : nil }
    }

    /// Begins a log whose first record gets `preamble.firstIndex`, behind the `older` ones.
    init(
        beginning preamble: WALPreamble, behind older: [Segment], directory: String, fileSystem: any FileSystem,
        options: WALOptions
    ) throws(StorageError) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.options = options
        nextIndex = preamble.firstIndex
        number = preamble.number
        segments = older + [Segment(number: preamble.number, firstIndex: preamble.firstIndex)]
        (file, output, filled) = try Self.begin(preamble, directory, fileSystem, options, maps: true)
        synced = output.position
    }

    /// Takes the spare file, or makes one, under the new log's name, reserves its space and writes the preamble;
    /// durable on return. After a failure it may be called again with the same number.
    private static func begin(
        _ preamble: WALPreamble, _ directory: String, _ fileSystem: any FileSystem, _ options: WALOptions, maps: Bool
    ) throws(StorageError) -> (file: any File, output: WALOutput, filled: Int) {
        let path = directory + "/" + name(preamble.number)
        let payload = preamble.encode()
        let bytes = [UInt8](unsafeUninitializedCapacity: WALFrame.headerBytes + payload.count + 8) { buffer, count in
            guard let memory = UnsafeMutableRawBufferPointer(buffer).baseAddress else { return }
            count = payload.withUnsafeBytes {
                WALEncoder.frame(
                    .preamble, nil, $0, at: memory, log: preamble.number, position: 0, syncedOffset: 0)
            }
        }
        return try disk { () throws(FileIOError) in
            let isUsed = try fileSystem.exists(directory + "/" + spareName)
            if isUsed { try fileSystem.rename(directory + "/" + spareName, to: path) }
            let file = try fileSystem.open(path, .createOrOpen)
            // Before the first byte: an undone rename would leave new frames under the old log's name.
            try fileSystem.syncDirectory(directory)
            let usedBytes = isUsed ? Int(try file.size()) : 0
            try file.reserve(at: 0, count: UInt64(options.fileBytes))
            try file.write(bytes: bytes, at: 0, durability: .power)
            let output = try WALOutput(
                file, at: bytes.count, reserved: max(options.fileBytes, usedBytes),
                bufferBytes: options.groupBytesMax, maps: maps)
            return (file, output, max(bytes.count, usedBytes))
        }
    }

    /// Makes sure that records of `bytes` bytes in all fit the file and the memory, beginning a new file when the old
    /// is full. After a lack of space everything is as before.
    /// - Parameter durability: what the commit that follows will ask for.
    mutating func makeRoom(records: Int, bytes: Int, durability: Durability) throws(StorageError) {
        if let failure { throw .readOnly(failure) }
        let needed = WALEncoder.bytesMax(records: records, bytes: bytes)
        do throws(StorageError) {
            let isFresh = nextIndex == segments[segments.count - 1].firstIndex
            if output.position + needed > options.fileBytes, !isFresh { try beginNext() }
            let isFilledSoon = !isSynced && durability < .power
            try disk { () throws(FileIOError) in try output.makeRoom(needed, isFilledSoon: isFilledSoon) }
        } catch {
            if !error.isOnlyLackOfSpace { failure = error.description }
            throw error
        }
    }

    /// Where no write is synced the old log is not either: most of it is given back before the device has seen it.
    private mutating func beginNext() throws(StorageError) {
        if isSynced { try settle() } else { try write(.process) }
        let preamble = WALPreamble(
            number: number + 1, firstIndex: nextIndex, previousNumber: number, previousEnd: UInt64(output.position),
            isPreviousSynced: isSynced)
        let old = (number, file)
        (file, output, filled) = try Self.begin(preamble, directory, fileSystem, options, maps: !isSynced)
        number = preamble.number
        synced = output.position
        if !isSynced { unsynced.append(old) }
        segments.append(Segment(number: preamble.number, firstIndex: nextIndex))
    }

    /// Adds a record, for which there is room, to what the next ``commit(_:)`` writes.
    /// - Returns: its index.
    mutating func append(_ payload: UnsafeRawBufferPointer) -> UInt64 {
        let (index, number, syncedOffset) = (nextIndex, number, UInt64(synced))
        nextIndex += 1
        output.append { memory, position in
            WALEncoder.record(
                index: index, payload, at: memory, log: number, position: position, syncedOffset: syncedOffset)
        }
        return index
    }

    /// Brings everything appended so far to the given level. An error is final.
    mutating func commit(_ durability: Durability) throws(StorageError) {
        if let failure { throw .readOnly(failure) }
        if durability < .power, output.pending == 0 { return }
        if durability == .none, output.pending < options.groupBytesMax { return }
        do throws(StorageError) {
            try write(durability)
        } catch {
            failure = error.description
            throw error
        }
        if durability == .power { mark() }
    }

    private mutating func write(_ durability: Durability) throws(StorageError) {
        guard durability == .power else {
            try disk { () throws(FileIOError) in try output.flush(.process) }
            return
        }
        isSynced = true
        output.unmap(bufferBytes: options.groupBytesMax)
        if output.position > filled { try fill() }
        try settle()
    }

    /// Makes everything durable.
    private mutating func settle() throws(StorageError) {
        try disk { () throws(FileIOError) in
            // A promise covers all that came before.
            for (_, file) in unsynced { try file.sync() }
            unsynced = []
            // With nothing older to sync, the write itself can be the sync. A mark in front of it in the same sector is
            // written with it.
            let isAlone = synced == output.written || synced / Self.sectorBytes == output.written / Self.sectorBytes
            let isOneStep = isAlone && output.pending > 0
            try output.flush(isOneStep ? .power : .process)
            if !isOneStep, synced < output.position { try file.sync() }
        }
        synced = output.position
    }

    /// Writes zeros behind what the file holds, and syncs: the syncs that follow find all metadata on the device.
    private mutating func fill() throws(StorageError) {
        let step = min(max(Self.fillBytes.lowerBound, output.position / 16), Self.fillBytes.upperBound)
        try disk { () throws(FileIOError) in
            try output.flush(.process)
            let reached = (output.position + step) / Self.pageBytes * Self.pageBytes
            let end = max(output.position, min(reached, options.fileBytes))
            // Page by page: a large write makes large folios, which the kernel counts and writes as a whole later,
            // however little of them changes.
            var position = output.position
            while position < end {
                let next = min((position / Self.pageBytes + 1) * Self.pageBytes, end)
                try file.zeroFill(at: UInt64(position), count: UInt64(next - position))
                position = next
            }
            try file.sync()
            filled = end
        }
        synced = output.position
    }

    /// Promises in the log what was just synced, so that damage to the newest records is not taken for a torn end. The
    /// promise itself is not synced.
    private mutating func mark() {
        let (number, syncedOffset) = (number, UInt64(synced))
        do throws(FileIOError) {
            try output.makeRoom(WALEncoder.bytesMax(records: 1, bytes: 0), isFilledSoon: false)
            output.append { memory, position in
                let padding = WALEncoder.pad(at: memory, position: position)
                return padding
                    + WALEncoder.frame(
                        .mark, nil, UnsafeRawBufferPointer(start: nil, count: 0), at: memory + padding, log: number,
                        position: position + padding, syncedOffset: syncedOffset)
            }
            try output.flush(.process)
        } catch {
            // What was asked for is durable, so this is no failure of the caller's; only nothing may follow.
            failure = error.description
        }
    }

    /// Ends all writing.
    mutating func stop(_ cause: String) {
        if failure == nil { failure = cause }
    }

    /// Gives back logs that only hold records up to `flushed`. Where writes are synced one becomes the spare; otherwise
    /// removing them saves the device what the page cache still holds of them.
    /// - Returns: false when there was nothing to give back.
    mutating func trim(flushed: UInt64) throws(StorageError) -> Bool {
        guard segments.count > 1, segments[1].firstIndex <= flushed + 1 else { return false }
        let path = directory + "/" + Self.name(segments[0].number)
        try disk { () throws(FileIOError) in
            let hasSpare = try fileSystem.exists(directory + "/" + Self.spareName)
            if hasSpare || !isSynced {
                try fileSystem.remove(path)
            } else {
                try fileSystem.rename(path, to: directory + "/" + Self.spareName)
            }
        }
        unsynced.removeAll { $0.number == segments[0].number }
        segments.removeFirst()
        return true
    }
}
