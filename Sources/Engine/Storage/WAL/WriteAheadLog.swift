// The write-ahead log of a store that stands alone: records with consecutive indexes in files that were filled with zeros
// before and are used again, so that a synced write changes no metadata. One thread writes at a time. After a failed write
// or sync it never touches the log again: what the disk holds is then unknown.
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
    private var file: any File
    /// Frames that are not written yet, and where they belong.
    private var buffer: [UInt8] = []
    private var written: UInt64
    /// Everything in front of this is durable.
    private var synced: UInt64
    /// Records were written that no sync has covered.
    private var isDirty = false

    static let spareName = "spare.log"

    static func name(_ number: UInt64) -> String {
        let text = String(number)
        return "wal-" + String(repeating: "0", count: max(0, 6 - text.count)) + text + ".log"
    }

    /// The number in a log's name; nil for other names.
    static func number(_ name: String) -> UInt64? {
        guard name.hasPrefix("wal-"), name.hasSuffix(".log") else { return nil }
        return UInt64(name.dropFirst(4).dropLast(4))
    }

    private var number: UInt64 { segments[segments.count - 1].number }
    private var position: Int { Int(written) + buffer.count }

    /// Begins a log whose first record gets `preamble.firstIndex`, behind the `older` ones.
    init(
        beginning preamble: WALPreamble, behind older: [Segment], directory: String, fileSystem: any FileSystem,
        options: WALOptions
    ) throws(StorageError) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.options = options
        nextIndex = preamble.firstIndex
        segments = older + [Segment(number: preamble.number, firstIndex: preamble.firstIndex)]
        (file, written) = try Self.begin(preamble, directory, fileSystem, options)
        synced = written
    }

    /// Takes the spare file, or makes one, under the new log's name, and writes the preamble; durable on return.
    private static func begin(
        _ preamble: WALPreamble, _ directory: String, _ fileSystem: any FileSystem, _ options: WALOptions
    ) throws(StorageError) -> (any File, UInt64) {
        let path = directory + "/" + name(preamble.number)
        var bytes: [UInt8] = []
        preamble.encode().withUnsafeBytes {
            bytes.appendFrame(.preamble, $0, log: preamble.number, at: 0, syncedOffset: 0)
        }
        let file = try disk { () throws(FileIOError) -> any File in
            if try fileSystem.exists(directory + "/" + spareName) {
                try fileSystem.rename(directory + "/" + spareName, to: path)
            } else {
                try makeSpare(name(preamble.number), by: "begin.tmp", directory, fileSystem, options)
            }
            // Before the first byte: an undone rename would leave new frames under the old log's name.
            try fileSystem.syncDirectory(directory)
            let file = try fileSystem.open(path, .readWrite)
            try file.write(bytes: bytes, at: 0, durability: .power)
            return file
        }
        return (file, UInt64(bytes.count))
    }

    /// Makes a file of zeros under the name `finished`, `temporary` until then. Two threads may do this at once if they
    /// use different temporary names.
    static func makeSpare(
        _ finished: String, by temporary: String, _ directory: String, _ fileSystem: any FileSystem,
        _ options: WALOptions
    ) throws(FileIOError) {
        let temporary = directory + "/" + temporary
        if try fileSystem.exists(temporary) { try fileSystem.remove(temporary) }
        let file = try fileSystem.open(temporary, .create)
        do throws(FileIOError) {
            try file.zeroFill(at: 0, count: UInt64(options.fileBytes))
            try file.sync()
            try fileSystem.rename(temporary, to: directory + "/" + finished)
        } catch {
            // It only takes space; opening removes it too.
            try? fileSystem.remove(temporary)
            throw error
        }
    }

    /// Makes sure that records of `bytes` bytes in all go into one file, beginning a new one when the old is full.
    /// After a lack of space everything is as before.
    mutating func makeRoom(records: Int, bytes: Int) throws(StorageError) {
        if let failure { throw .readOnly(failure) }
        let frames = bytes / (WALFrame.blockBytes - WALFrame.leastBytes) + 2 * records + 2
        let needed = bytes + frames * (WALFrame.leastBytes + 8)
        let isFresh = nextIndex == segments[segments.count - 1].firstIndex
        guard position + needed > options.fileBytes, !isFresh else { return }
        do throws(StorageError) {
            // The new log promises that all of the old one is durable.
            try write(.power)
            let preamble = WALPreamble(
                number: number + 1, firstIndex: nextIndex, previousNumber: number, previousEnd: written)
            (file, written) = try Self.begin(preamble, directory, fileSystem, options)
            synced = written
            segments.append(Segment(number: preamble.number, firstIndex: nextIndex))
        } catch {
            if !error.isOnlyLackOfSpace { failure = error.description }
            throw error
        }
    }

    /// Adds a record to what the next ``commit(_:)`` writes.
    /// - Returns: its index.
    mutating func append(_ payload: UnsafeRawBufferPointer) -> UInt64 {
        let index = nextIndex
        nextIndex += 1
        var record: [UInt8] = []
        record.reserveCapacity(8 + payload.count)
        record.append(littleEndian: index)
        record.append(contentsOf: payload)
        record.withUnsafeBytes {
            buffer.appendRecord($0, log: number, origin: Int(written), syncedOffset: synced)
        }
        return index
    }

    /// Brings everything appended so far to the given level. An error is final.
    mutating func commit(_ durability: Durability) throws(StorageError) {
        if let failure { throw .readOnly(failure) }
        do throws(StorageError) {
            if durability > .none || buffer.count >= options.groupBytesMax { try write(durability) }
        } catch {
            failure = error.description
            throw error
        }
        if durability == .power { mark() }
    }

    private mutating func write(_ durability: Durability) throws(StorageError) {
        let (file, buffer, start) = (file, buffer, written)
        // With nothing older to sync, the write itself can be the sync.
        let isOneStep = durability == .power && !isDirty
        try disk { () throws(FileIOError) in
            if !buffer.isEmpty {
                try file.write(bytes: buffer, at: start, durability: isOneStep ? .power : .process)
            }
            if durability == .power, !isOneStep { try file.sync() }
        }
        written += UInt64(buffer.count)
        if !buffer.isEmpty { isDirty = true }
        self.buffer.removeAll(keepingCapacity: true)
        if durability == .power {
            isDirty = false
            synced = written
        }
    }

    /// Promises in the log what was just synced, so that damage to the newest records is not taken for a torn end. The
    /// promise itself is not synced.
    private mutating func mark() {
        buffer.padToFrame(at: position)
        buffer.appendFrame(
            .mark, UnsafeRawBufferPointer(start: nil, count: 0), log: number, at: position, syncedOffset: synced)
        do throws(FileIOError) {
            try file.write(bytes: buffer, at: written)
            written += UInt64(buffer.count)
            buffer.removeAll(keepingCapacity: true)
        } catch {
            // What was asked for is durable, so this is no failure of the caller's; only nothing may follow.
            failure = error.description
        }
    }

    /// Ends all writing.
    mutating func stop(_ cause: String) {
        if failure == nil { failure = cause }
    }

    /// Gives back logs that only hold records up to `flushed`: one becomes the spare, the others are removed.
    /// - Returns: false when there was nothing to give back.
    mutating func trim(flushed: UInt64) throws(StorageError) -> Bool {
        guard segments.count > 1, segments[1].firstIndex <= flushed + 1 else { return false }
        let path = directory + "/" + Self.name(segments[0].number)
        try disk { () throws(FileIOError) in
            if try fileSystem.exists(directory + "/" + Self.spareName) {
                try fileSystem.remove(path)
            } else {
                try fileSystem.rename(path, to: directory + "/" + Self.spareName)
            }
        }
        segments.removeFirst()
        return true
    }
}
