// A member's term and vote on disk, written before any message reveals them. Two slots are written in turn, each in a
// sector of its own, so that a torn write leaves the older one. It must never invent a term: when a file has content
// but no slot holds, that is corruption.
import CEngine
public import FileIO
import Synchronization

/// The persistent term and vote of one Raft group.
public final class HardStateFile: Sendable {
    private static let slotBytes = 512
    /// Not reached by counting: a slot above is damage.
    private static let sequenceMax: UInt64 = 1 << 62
    /// "SLV1" when read as bytes.
    private static let magic: UInt32 = 0x3156_4C53

    private struct Slot: Sendable {
        var sequence: UInt64
        var term: UInt64
        var vote: UInt64
    }

    private struct State: Sendable {
        var newest: Slot
        var failure: SegmentedLogError?
    }

    private let file: any File
    private let state: Mutex<State>

    private init(file: any File, newest: Slot) {
        self.file = file
        state = Mutex(State(newest: newest))
    }

    /// Opens the file, creating it when it is missing; its name is durable on return.
    public static func open(path: String, fileSystem: any FileSystem) throws(SegmentedLogError) -> HardStateFile {
        let (file, bytes) = try onDisk { () throws(FileIOError) in
            // Made complete before it gets its name, so that a file without a good slot is never an interrupted start.
            if try fileSystem.readFile(path)?.isEmpty ?? true {
                let unused = encode(Slot(sequence: 0, term: 0, vote: 0))
                try fileSystem.replaceFile(path, with: unused + unused)
            }
            let file = try fileSystem.open(path, .readWrite)
            // A killed process may have left its last write in the page cache only.
            try file.sync()
            return (file, try file.read(count: 2 * slotBytes, at: 0))
        }
        var newest: Slot?
        for start in [0, slotBytes] where start + slotBytes <= bytes.count {
            guard let slot = decode(Array(bytes[start..<start + slotBytes])) else { continue }
            if newest.map({ slot.sequence > $0.sequence }) ?? true { newest = slot }
        }
        guard let newest else {
            throw SegmentedLogError(
                .corruption,
                "neither slot of the term and vote holds; restore the file, or remove this member and add it anew",
                path: path, offset: 0)
        }
        return HardStateFile(file: file, newest: newest)
    }

    /// The newest term and vote (0 for none); nil when none was ever stored.
    public func load() -> (term: UInt64, vote: UInt64)? {
        state.withLock { $0.newest.sequence == 0 ? nil : ($0.newest.term, $0.newest.vote) }
    }

    /// Stores a term and a vote (0 for none); durable on return. A failure is final.
    public func store(term: UInt64, vote: UInt64) throws(SegmentedLogError) {
        try state.withLock { state throws(SegmentedLogError) in
            if let failure = state.failure {
                throw SegmentedLogError(
                    .poisoned, "the term and vote were given up after: \(failure); restart the node", path: file.path)
            }
            let slot = Slot(sequence: state.newest.sequence + 1, term: term, vote: vote)
            do throws(FileIOError) {
                let position = slot.sequence % 2 * UInt64(Self.slotBytes)
                try file.write(bytes: Self.encode(slot), at: position, durability: .power)
            } catch {
                let failure = SegmentedLogError(.disk, "", path: error.path, cause: error)
                state.failure = failure
                throw failure
            }
            state.newest = slot
        }
    }

    /// magic u32 | version u32 | sequence u64 | term u64 | vote u64 | CRC-32C of these 32 bytes u32 | zeros.
    private static func encode(_ slot: Slot) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: slotBytes)
        bytes.withUnsafeMutableBytes { raw in
            raw.storeBytes(of: magic.littleEndian, toByteOffset: 0, as: UInt32.self)
            raw.storeBytes(of: UInt32(1).littleEndian, toByteOffset: 4, as: UInt32.self)
            raw.storeBytes(of: slot.sequence.littleEndian, toByteOffset: 8, as: UInt64.self)
            raw.storeBytes(of: slot.term.littleEndian, toByteOffset: 16, as: UInt64.self)
            raw.storeBytes(of: slot.vote.littleEndian, toByteOffset: 24, as: UInt64.self)
            raw.storeBytes(of: strata_crc32c(0, raw.baseAddress, 32).littleEndian, toByteOffset: 32, as: UInt32.self)
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
            guard half(0) == magic, half(4) == 1, half(32) == strata_crc32c(0, raw.baseAddress, 32),
                raw[36...].allSatisfy({ $0 == 0 }), word(8) < sequenceMax
            else { return nil }
            return Slot(sequence: word(8), term: word(16), vote: word(24))
        }
    }
}
