// What a member must never forget, on disk: term and vote, written before any message reveals them, and beside them the
// commit index and how far the log is known to be durable, which tells a log that lost its end from one that never had
// it. Two slots are written in turn, each in a sector of its own, so that a torn write leaves the older one. It must
// never invent a term: when a file has content but no slot holds, that is corruption.
import CEngine
public import FileIO
import Synchronization

/// What a log is known to hold durably; recorded apart from the log.
public struct LogFloor: Sendable, Hashable {
    /// An entry; 0 when none is known.
    public var index: UInt64
    /// The term of that entry.
    public var term: UInt64
    /// There is a segment that begins behind this entry.
    public var head: UInt64

    public init(index: UInt64 = 0, term: UInt64 = 0, head: UInt64 = 0) {
        self.index = index
        self.term = term
        self.head = head
    }

    /// Says nothing about the log.
    public static let none = LogFloor()
}

/// What a ``HardStateFile`` holds.
public struct HardStateRecord: Sendable, Hashable {
    public var term: UInt64
    /// 0 for none.
    public var vote: UInt64
    /// Entries up to here were committed; the log itself may end earlier after a crash.
    public var commit: UInt64
    /// The replica lost a part of its log: it holds what it was sent since, and has no vote until it has caught up.
    public var isRecovering: Bool
    /// The log was durable at least up to here.
    public var floor: LogFloor

    public init(
        term: UInt64 = 0, vote: UInt64 = 0, commit: UInt64 = 0, isRecovering: Bool = false, floor: LogFloor = .none
    ) {
        self.term = term
        self.vote = vote
        self.commit = commit
        self.isRecovering = isRecovering
        self.floor = floor
    }
}

/// The persistent state of one member of one Raft group. See Docs/Formats/segmented-log.md.
public final class HardStateFile: Sendable {
    private static let slotBytes = 512
    /// Not reached by counting: a slot above is damage.
    private static let sequenceMax: UInt64 = 1 << 62
    /// "SLV1" when read as bytes.
    private static let magic: UInt32 = 0x3156_4C53
    private static let recoveringFlag: UInt32 = 1

    private struct Slot: Sendable {
        var sequence: UInt64
        var record: HardStateRecord
    }

    private struct State: Sendable {
        var newest: Slot
        /// The older slot holds the same.
        var isSettled: Bool
        var failure: SegmentedLogError?
    }

    private let file: any File
    private let state: Mutex<State>

    private init(file: any File, newest: Slot, isSettled: Bool) {
        self.file = file
        state = Mutex(State(newest: newest, isSettled: isSettled))
    }

    /// Opens the file, creating it when it is missing; its name is durable on return.
    ///
    /// Whether a file may be missing is the caller's to know: see ``exists(path:fileSystem:)``. An empty file is
    /// damage, since a file is complete before it gets its name.
    public static func open(path: String, fileSystem: any FileSystem) throws(SegmentedLogError) -> HardStateFile {
        let (file, bytes) = try onDisk { () throws(FileIOError) in
            // Made complete before it gets its name, so that a file without a good slot is never an interrupted start.
            if try !fileSystem.exists(path) {
                let unused = encode(Slot(sequence: 0, record: HardStateRecord()))
                try fileSystem.replaceFile(path, with: unused + unused)
            }
            let file = try fileSystem.open(path, .readWrite)
            // A killed process may have left its last write in the page cache only.
            try file.sync()
            return (file, try file.read(count: 2 * slotBytes, at: 0))
        }
        let (newest, isSettled) = try newest(of: bytes, path)
        return HardStateFile(file: file, newest: newest, isSettled: isSettled)
    }

    /// Puts a file that holds a record in the place of whatever is there; for an operator's repair.
    public static func replace(
        path: String, with record: HardStateRecord, fileSystem: any FileSystem
    ) throws(SegmentedLogError) {
        let slot = encode(Slot(sequence: 1, record: record))
        try onDisk { () throws(FileIOError) in try fileSystem.replaceFile(path, with: slot + slot) }
    }

    /// Whether there is a file with that name, whatever it holds.
    public static func exists(path: String, fileSystem: any FileSystem) throws(SegmentedLogError) -> Bool {
        try onDisk { () throws(FileIOError) in try fileSystem.exists(path) }
    }

    /// Reads a file that nobody needs to have open, changing nothing; nil when it is missing.
    public static func read(
        path: String, fileSystem: any FileSystem
    ) throws(SegmentedLogError) -> HardStateRecord? {
        let bytes = try onDisk { () throws(FileIOError) in try fileSystem.readFile(path) }
        guard let bytes else { return nil }
        return try newest(of: bytes, path).slot.record
    }

    /// Whether the file was written by a version that keeps commit index and floor; false when it can't be read.
    public static func keepsFloor(path: String, fileSystem: any FileSystem) -> Bool {
        guard let bytes = try? fileSystem.readFile(path) else { return false }
        for start in [0, slotBytes] where start + slotBytes <= bytes.count {
            let slot = Array(bytes[start..<start + slotBytes])
            if slot[4] >= 2, decode(slot) != nil { return true }
        }
        return false
    }

    private static func newest(
        of bytes: [UInt8], _ path: String
    ) throws(SegmentedLogError) -> (slot: Slot, isSettled: Bool) {
        let slots = [0, slotBytes].compactMap { start in
            start + slotBytes <= bytes.count ? decode(Array(bytes[start..<start + slotBytes])) : nil
        }
        guard let newest = slots.max(by: { $0.sequence < $1.sequence }) else {
            throw SegmentedLogError(
                .corruption, "neither slot of the term and vote holds", path: path, offset: 0)
        }
        return (newest, slots.count == 2 && slots[0].record == slots[1].record)
    }

    /// The newest term and vote (0 for none); nil when none was ever stored.
    public func load() -> (term: UInt64, vote: UInt64)? {
        state.withLock { $0.newest.sequence == 0 ? nil : ($0.newest.record.term, $0.newest.record.vote) }
    }

    /// What is stored; all zero when nothing ever was.
    public var record: HardStateRecord { state.withLock { $0.newest.record } }

    /// Whether both slots hold the same.
    public var isSettled: Bool { state.withLock { $0.isSettled } }

    /// The file's path.
    public var path: String { file.path }

    /// Stores a term and a vote (0 for none) and leaves the rest as it is; durable on return. A failure is final.
    public func store(term: UInt64, vote: UInt64) throws(SegmentedLogError) {
        var record = record
        record.term = term
        record.vote = vote
        try store(record)
    }

    /// Stores a record; durable on return. A failure is final.
    /// - Complexity: one durable write.
    public func store(_ record: HardStateRecord) throws(SegmentedLogError) {
        try state.withLock { state throws(SegmentedLogError) in
            if let failure = state.failure {
                throw SegmentedLogError(
                    .poisoned, "the term and vote were given up after: \(failure); restart the node", path: file.path)
            }
            // No file gets there by being written: the next slot would be taken for damage, and what it holds be
            // forgotten.
            guard state.newest.sequence < Self.sequenceMax - 1 else {
                throw SegmentedLogError(
                    .corruption, "the numbers of its slots are used up: the file was altered; restore it from a backup",
                    path: file.path)
            }
            let slot = Slot(sequence: state.newest.sequence + 1, record: record)
            do throws(FileIOError) {
                let position = slot.sequence % 2 * UInt64(Self.slotBytes)
                try file.write(bytes: Self.encode(slot), at: position, durability: .power)
            } catch {
                let failure = SegmentedLogError(.disk, "", path: error.path, cause: error)
                state.failure = failure
                throw failure
            }
            state.isSettled = slot.record == state.newest.record
            state.newest = slot
        }
    }

    /// Stores a record in both slots, so that damage to one of them, while nothing is written, takes nothing along.
    /// - Complexity: two durable writes; none when both hold it already.
    public func settle(_ record: HardStateRecord) throws(SegmentedLogError) {
        let isStored = state.withLock { $0.newest.record == record }
        if !isStored { try store(record) }
        if !state.withLock({ $0.isSettled }) { try store(record) }
    }

    /// magic u32 | version u32 | sequence u64 | term u64 | vote u64 | commit u64 | floor: index u64, term u64, head
    /// u64 | flags u32 | CRC-32C of these 68 bytes u32 | zeros.
    private static func encode(_ slot: Slot) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: slotBytes)
        let record = slot.record
        bytes.withUnsafeMutableBytes { raw in
            func put<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
                raw.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
            }
            put(magic, at: 0)
            put(UInt32(2), at: 4)
            put(slot.sequence, at: 8)
            put(record.term, at: 16)
            put(record.vote, at: 24)
            put(record.commit, at: 32)
            put(record.floor.index, at: 40)
            put(record.floor.term, at: 48)
            put(record.floor.head, at: 56)
            put(record.isRecovering ? recoveringFlag : 0, at: 64)
            put(strata_crc32c(0, raw.baseAddress, 68), at: 68)
        }
        return bytes
    }

    private static func decode(_ bytes: [UInt8]) -> Slot? {
        bytes.withUnsafeBytes { raw in
            func word(_ offset: Int) -> UInt64 {
                UInt64(littleEndian: raw.load(fromByteOffset: offset, as: UInt64.self))
            }
            func half(_ offset: Int) -> UInt32 {
                UInt32(littleEndian: raw.load(fromByteOffset: offset, as: UInt32.self))
            }
            guard half(0) == magic, word(8) < sequenceMax else { return nil }
            var record = HardStateRecord(term: word(16), vote: word(24))
            switch half(4) {
            case 1:
                // Written before the commit index and the floor were kept.
                guard half(32) == strata_crc32c(0, raw.baseAddress, 32), raw[36...].allSatisfy({ $0 == 0 }) else {
                    return nil
                }
            case 2:
                guard half(68) == strata_crc32c(0, raw.baseAddress, 68), raw[72...].allSatisfy({ $0 == 0 }),
                    half(64) & ~recoveringFlag == 0
                else { return nil }
                record.commit = word(32)
                record.floor = LogFloor(index: word(40), term: word(48), head: word(56))
                record.isRecovering = half(64) & recoveringFlag != 0
            default:
                return nil
            }
            return Slot(sequence: word(8), record: record)
        }
    }
}
