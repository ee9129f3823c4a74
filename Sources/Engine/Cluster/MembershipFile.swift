// Where the history of a group's members begins: its members as of one entry, durable before anything of the log up to
// that entry may go. Everything later is in the log itself, as membership frames, so that it needs no second record:
// who the members were as of any entry is this base and the changes up to there. Blocks; never used on the host's
// thread.
import CEngine
public import FileIO
public import Raft
public import SegmentedLog

/// The members of a group as of one entry, and every change behind it that the log holds.
public struct MembershipHistory: Sendable {
    public private(set) var base: (index: LogIndex, membership: GroupMembership)
    /// Ascending; committed or not.
    public private(set) var changes: [(index: LogIndex, change: VersionedChange)]

    public init(
        base: (index: LogIndex, membership: GroupMembership), changes: [(index: LogIndex, change: VersionedChange)] = []
    ) {
        self.base = base
        self.changes = changes
    }

    /// The members as of entry `index`, which must not lie before the base.
    public func membership(asOf index: LogIndex) -> GroupMembership {
        var membership = base.membership
        for (position, change) in changes where position <= index { membership = membership.applying(change) }
        return membership
    }

    /// Moves the base up to `index`.
    public mutating func fold(through index: LogIndex) {
        guard index > base.index else { return }
        base = (index, membership(asOf: index))
        changes.removeAll { $0.index <= index }
    }

    /// Entries from `index` on were cut off the log: changes among them never happened.
    mutating func truncate(from index: LogIndex) {
        changes.removeAll { $0.index >= index }
    }

    /// A change was applied; what stood at its index or behind it and was not is void.
    mutating func add(_ change: VersionedChange, at index: LogIndex) {
        changes.removeAll { $0.index >= index }
        changes.append((index, change))
    }
}

/// The file `<group>.members`: `"SGM1" | u64 index | u32 length | membership | CRC-32C of all before`.
public struct MembershipFile: Sendable {
    private static let magic = Array("SGM1".utf8)
    private static let entriesBytesMax = 1 << 20

    public let path: String
    public let fileSystem: any FileSystem

    public init(path: String, fileSystem: any FileSystem) {
        self.path = path
        self.fileSystem = fileSystem
    }

    /// Reads the base, or writes the first one, and adds the changes that the log holds.
    /// - Parameter initial: the members of the group before any change; only used when the file is missing.
    public func open(initial: GroupMembership, log: SegmentedLog) throws(SegmentedLogError) -> MembershipHistory {
        let base: (index: LogIndex, membership: GroupMembership)
        if let stored = try load() {
            base = stored
            try Self.check(base.index, against: log, path)
        } else {
            base = (0, initial)
            try store(index: 0, membership: initial)
        }
        var history = MembershipHistory(base: base)
        for frame in log.recovery.controlFrames where frame.kind == .membership && frame.index > base.index {
            let found = try log.read(from: frame.index, through: frame.index, maxBytes: Self.entriesBytesMax)
            guard !found.isEmpty, let change = ConfigurationCodec.decodeChange(found.payload(0)) else {
                throw SegmentedLogError(
                    .unsupported,
                    "entry \(frame.index) changes the members in a way that this version does not know; upgrade this node",
                    path: path)
            }
            history.add(change, at: frame.index)
        }
        return history
    }

    /// The log must go on where the base ends: without a gap, and without having lost what the base covers.
    private static func check(
        _ index: LogIndex, against log: SegmentedLog, _ path: String
    ) throws(SegmentedLogError) {
        if index + 1 < log.firstIndex {
            throw SegmentedLogError(
                .incomplete,
                "the members are known as of entry \(index), yet the log begins at \(log.firstIndex): segments of it, or a "
                    + "newer list of members, are gone", path: log.path)
        }
        if index > log.lastIndex {
            throw SegmentedLogError(
                .incomplete,
                "the members are known as of entry \(index), yet the log ends at \(log.lastIndex): its end is gone",
                path: log.path)
        }
    }

    /// Whether the file is there, whatever it holds.
    public var exists: Bool {
        get throws(SegmentedLogError) {
            do throws(FileIOError) {
                return try fileSystem.exists(path)
            } catch {
                throw SegmentedLogError(.disk, "", path: path, cause: error)
            }
        }
    }

    /// Nil when there is no such file.
    public func load() throws(SegmentedLogError) -> (index: LogIndex, membership: GroupMembership)? {
        let bytes: [UInt8]?
        do throws(FileIOError) {
            bytes = try fileSystem.readFile(path)
        } catch {
            throw SegmentedLogError(.disk, "", path: path, cause: error)
        }
        guard let bytes else { return nil }
        guard let base = Self.decode(bytes) else {
            throw SegmentedLogError(
                .corruption,
                "the members of the group don't hold; restore the file, or remove this member and add it anew",
                path: path, offset: 0)
        }
        return base
    }

    /// Replaces the base; durable on return. Must come before the log gives up entries that the new base covers.
    public func store(index: LogIndex, membership: GroupMembership) throws(SegmentedLogError) {
        do throws(FileIOError) {
            try fileSystem.replaceFile(path, with: Self.encode(index: index, membership: membership))
        } catch {
            throw SegmentedLogError(.disk, "", path: error.path, cause: error)
        }
    }

    private static func encode(index: LogIndex, membership: GroupMembership) -> [UInt8] {
        var writer = ByteWriter(bytes: magic)
        writer.write(index)
        writer.write(counted: ConfigurationCodec.encode(membership))
        writer.write(checksum(writer.bytes[...]))
        return writer.bytes
    }

    private static func decode(_ bytes: [UInt8]) -> (index: LogIndex, membership: GroupMembership)? {
        guard bytes.starts(with: magic), bytes.count > magic.count + 4 else { return nil }
        let body = bytes.dropLast(4)
        var tail = ByteReader(bytes[body.endIndex...])
        guard tail.read(UInt32.self) == checksum(body) else { return nil }
        var reader = ByteReader(body.dropFirst(magic.count))
        guard let index = reader.read(UInt64.self), let encoded = reader.readCounted(), reader.isAtEnd,
            let membership = ConfigurationCodec.decodeMembership(encoded)
        else { return nil }
        return (index, membership)
    }

    private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count) }
    }
}
