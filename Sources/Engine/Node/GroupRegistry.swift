// Which groups were made whole on this node, once: `node/raft/registry`. Without it a group whose files are all gone
// could not be told from one that is new, and a replica that forgot its vote and its log would start from nothing.
// Replaced as a whole, with a checksum, before a new group may take part in anything; a name is never taken out.
// Blocks.
import CEngine
import Cluster
public import FileIO
import SegmentedLog
import Synchronization

/// The groups that this node has had. See Docs/Formats/segmented-log.md.
public final class GroupRegistry: Sendable {
    private static let magic = Array("SGR1".utf8)
    private static let stateSuffix = ".state"

    private let path: String
    private let fileSystem: any FileSystem
    private let content: Mutex<Set<String>>

    private init(path: String, fileSystem: any FileSystem, names: Set<String>) {
        self.path = path
        self.fileSystem = fileSystem
        content = Mutex(names)
    }

    /// Opens the registry of a data folder, making it when the folder is older than registries.
    ///
    /// - Parameters:
    ///   - directory: the data folder, whose `node/raft` exists.
    ///   - mustExist: a version that keeps a registry has run over this folder before.
    /// - Throws: ``NodeError/refused(replica:why:)`` when it is damaged, or missing though it was there.
    public static func open(
        directory: String, mustExist: Bool, fileSystem: any FileSystem
    ) throws(NodeError) -> GroupRegistry {
        let path = path(in: directory)
        if let bytes = try onDisk({ () throws(FileIOError) in try fileSystem.readFile(path) }) {
            guard let names = decode(bytes) else { throw refusal(path, "is damaged", directory) }
            return GroupRegistry(path: path, fileSystem: fileSystem, names: names)
        }
        let groups = try statesNames(in: directory, fileSystem)
        // Older versions wrote state files that say less.
        let isNewer = groups.contains {
            HardStateFile.keepsFloor(path: "\(directory)/node/raft/\($0)\(stateSuffix)", fileSystem: fileSystem)
        }
        if mustExist || isNewer { throw refusal(path, "is missing", directory) }
        return try write(groups, path, fileSystem)
    }

    /// Writes the registry anew from the state files that are there; for an operator who has lost it.
    /// - Returns: the names of the groups in it.
    public static func rebuild(directory: String, fileSystem: any FileSystem) throws(NodeError) -> [String] {
        let groups = try statesNames(in: directory, fileSystem)
        _ = try write(groups, path(in: directory), fileSystem)
        return groups.sorted()
    }

    /// Whether a group was made whole on this node before.
    public func contains(_ name: String) -> Bool { content.withLock { $0.contains(name) } }

    /// All names, sorted.
    public var names: [String] { content.withLock { $0.sorted() } }

    /// Notes groups whose files are all there; durable on return. Must come before they take part in anything.
    /// - Complexity: O(1) for groups that are known; else two syncs and one write of all names.
    public func note(_ names: [String]) throws(NodeError) {
        var failure: NodeError?
        content.withLock { known in
            let all = known.union(names)
            guard all.count > known.count else { return }
            do throws(NodeError) {
                _ = try Self.write(all, path, fileSystem)
                known = all
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    private static func path(in directory: String) -> String { directory + "/node/raft/registry" }

    private static func refusal(_ path: String, _ what: String, _ directory: String) -> NodeError {
        .refused(
            replica: "this node",
            why:
                "\(path), which lists the groups that it holds, \(what), so that a group whose files are gone would be taken "
                + "for a new one; restore it from a backup of this node, or, if no other file is missing, write it anew "
                + "with: Server storage repair --registry --data \(directory)")
    }

    private static func statesNames(
        in directory: String, _ fileSystem: any FileSystem
    ) throws(NodeError) -> Set<String> {
        let names = try onDisk { () throws(FileIOError) in try fileSystem.list(directory + "/node/raft") }
        return Set(
            names.filter { $0.hasSuffix(stateSuffix) }.map { String($0.dropLast(stateSuffix.count)) })
    }

    private static func write(
        _ names: Set<String>, _ path: String, _ fileSystem: any FileSystem
    ) throws(NodeError) -> GroupRegistry {
        try onDisk { () throws(FileIOError) in try fileSystem.replaceFile(path, with: encode(names)) }
        return GroupRegistry(path: path, fileSystem: fileSystem, names: names)
    }

    /// `"SGR1" | u32 count | (u32 length | UTF-8) each, ascending | CRC-32C of everything before`.
    private static func encode(_ names: Set<String>) -> [UInt8] {
        var bytes = magic
        func put(_ value: UInt32) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        put(UInt32(names.count))
        for name in names.sorted() {
            put(UInt32(name.utf8.count))
            bytes.append(contentsOf: name.utf8)
        }
        put(checksum(bytes[...]))
        return bytes
    }

    private static func decode(_ bytes: [UInt8]) -> Set<String>? {
        guard bytes.starts(with: magic), bytes.count >= magic.count + 8 else { return nil }
        let body = bytes.dropLast(4)
        var rest = bytes[magic.count...]
        func take() -> UInt32? {
            guard rest.count >= 4 else { return nil }
            let value = rest.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            rest = rest.dropFirst(4)
            return value
        }
        guard let count = take() else { return nil }
        var names: Set<String> = []
        for _ in 0..<count {
            guard let length = take(), rest.count >= Int(length) + 4 else { return nil }
            names.insert(String(decoding: rest.prefix(Int(length)), as: UTF8.self))
            rest = rest.dropFirst(Int(length))
        }
        guard rest.count == 4, take() == checksum(body) else { return nil }
        return names
    }

    private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count) }
    }
}

/// Runs a disk operation and turns its error into the node's.
func onDisk<Result>(_ operation: () throws(FileIOError) -> Result) throws(NodeError) -> Result {
    do throws(FileIOError) {
        return try operation()
    } catch {
        throw .files(error)
    }
}
