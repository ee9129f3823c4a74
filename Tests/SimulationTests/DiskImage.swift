// All files of a stopped simulated node as values, and what can happen to them behind its back: deleted, emptied, cut,
// altered, replaced by an older copy. Whatever is done to the disk is durable at once.
import FileIO
import SimulatedIO

/// A copy of a folder.
struct DiskImage: Equatable {
    /// By path.
    var files: [String: [UInt8]] = [:]
    /// Parents before children.
    var folders: [String] = []

    init(of root: String, on disk: any FileSystem) throws {
        guard try disk.exists(root) else { return }
        try add(root, disk)
    }

    private mutating func add(_ path: String, _ disk: any FileSystem) throws {
        guard let names = try? disk.list(path) else {
            files[path] = try disk.readFile(path) ?? []
            return
        }
        folders.append(path)
        for name in names { try add(path + "/" + name, disk) }
    }

    /// Puts everything at and below `path` back as it was in this image.
    func restore(_ path: String, on disk: any FileSystem) throws {
        try Self.delete(path, on: disk)
        try disk.createDirectory(disk.directory(of: path))
        for folder in folders where Self.isBelow(folder, path) { try disk.createDirectory(folder) }
        for (name, bytes) in files where Self.isBelow(name, path) {
            let file = try disk.open(name, .create)
            try file.write(bytes: bytes, at: 0)
            try file.sync()
        }
        for folder in folders where Self.isBelow(folder, path) { try disk.syncDirectory(folder) }
        try disk.syncDirectory(disk.directory(of: path))
    }

    static func isBelow(_ name: String, _ path: String) -> Bool { name == path || name.hasPrefix(path + "/") }

    static func delete(_ path: String, on disk: any FileSystem) throws {
        if (try? disk.list(path)) != nil {
            try disk.removeTree(path)
        } else if try disk.exists(path) {
            try disk.remove(path)
        } else {
            return
        }
        try disk.syncDirectory(disk.directory(of: path))
    }

    static func cut(_ path: String, to size: UInt64, on disk: any FileSystem) throws {
        let file = try disk.open(path, .readWrite)
        try file.truncate(to: size)
        try file.sync()
    }

    static func flip(_ path: String, at position: UInt64, mask: UInt8, on disk: any FileSystem) throws {
        let file = try disk.open(path, .readWrite)
        let byte = try file.read(count: 1, at: position)
        try file.write(bytes: byte.map { $0 ^ mask }, at: position)
        try file.sync()
    }
}

/// One thing that happens to a stopped node's files.
enum FileFault: CustomStringConvertible {
    case delete(String)
    case empty(String)
    /// The folder stays, with nothing in it.
    case emptyFolder(String)
    case cut(String, to: UInt64)
    case flip(String, at: UInt64, mask: UInt8)
    /// An older copy takes the place of a file or a folder.
    case restore(String)

    /// The file or the folder.
    var path: String {
        switch self {
        case .delete(let path), .empty(let path), .emptyFolder(let path), .cut(let path, _), .flip(let path, _, _),
            .restore(let path):
            path
        }
    }

    var description: String {
        switch self {
        case .delete(let path): "delete \(path)"
        case .empty(let path): "empty \(path)"
        case .emptyFolder(let path): "empty the folder \(path)"
        case .cut(let path, let size): "cut \(path) to \(size)"
        case .flip(let path, let position, let mask): "flip \(mask) at \(position) of \(path)"
        case .restore(let path): "restore an older \(path)"
        }
    }

    /// Draws a fault for a node whose files are `image`.
    /// - Parameters:
    ///   - older: an earlier image of the same node; nil when nothing may be restored.
    ///   - isSealed: the node stopped in order: then what is in its logs is known. After a crash the last instant is
    ///     not, so that only whole files are lost.
    static func draw(
        from image: DiskImage, older: DiskImage?, isSealed: Bool, _ random: inout SimulatedRandom
    ) -> FileFault? {
        let files = image.files.keys.filter { !$0.hasSuffix("/LOCK") }.sorted()
        // `data` and `data/node` are the node's identity, which DataFolder watches over.
        let folders = image.folders.filter { $0 != "data" && $0 != "data/node" }
        let isFolder = random.chance(0.3)
        guard let path = (isFolder ? folders : files).randomElement(using: &random) else { return nil }
        let size = UInt64(image.files[path]?.count ?? 0)
        switch UInt64.random(in: 0..<(isSealed ? 5 : 2), using: &random) {
        case 0: return .delete(path)
        case 1: return isFolder ? .emptyFolder(path) : .empty(path)
        case 2 where !isFolder && size > 0:
            return .cut(path, to: UInt64.random(in: 0..<size, using: &random))
        case 3 where !isFolder && size > 0:
            return .flip(
                path, at: UInt64.random(in: 0..<size, using: &random),
                mask: 1 << UInt8.random(in: 0..<8, using: &random))
        case 4:
            // An older term and vote, alone, can't be told from the newest.
            guard let older, !path.hasPrefix("data/node/raft"), older.files[path] != nil || older.folders.contains(path)
            else { return nil }
            return .restore(path)
        default: return nil
        }
    }

    func apply(to disk: any FileSystem, older: DiskImage?) throws {
        switch self {
        case .delete(let path): try DiskImage.delete(path, on: disk)
        case .empty(let path): if try disk.exists(path) { try DiskImage.cut(path, to: 0, on: disk) }
        case .emptyFolder(let path):
            guard try disk.exists(path) else { return }
            try DiskImage.delete(path, on: disk)
            try disk.createDirectory(path)
        case .cut(let path, let size): if try disk.exists(path) { try DiskImage.cut(path, to: size, on: disk) }
        case .flip(let path, let position, let mask):
            guard try disk.exists(path), try disk.open(path, .read).size() > position else { return }
            try DiskImage.flip(path, at: position, mask: mask, on: disk)
        case .restore(let path): try older?.restore(path, on: disk)
        }
    }
}
