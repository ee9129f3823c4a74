// A real disk behind a cache that dies with the process: what was written and not synced, and names that no directory
// sync has covered, exist in this process's memory only. kill -9 therefore does what pulling the plug does, and always
// the worst of it: everything unsynced is gone. New folders are the exception; they are made at once. For experiments
// with a server.
//
// A file without a durable name is a real file in a folder of its own and is moved under its name by the directory's
// sync. Two names of one file must not be written through after both were forgotten; files that are linked are never
// changed.
import FileIO
import Synchronization

final class PowerLossFileSystem: FileSystem {
    private struct Name {
        /// Nil: removed, or renamed to something else.
        var file: UnsyncedFile?
        /// The same on the real disk.
        var isDurable: Bool
    }

    private struct Names {
        var entries: [String: Name] = [:]
        var made = 0
    }

    private let base: any FileSystem
    /// For files without a durable name.
    private let scratch: String
    private static let scratchName = ".unsynced"
    private let names = Mutex(Names())

    /// - Parameter folder: on the device of the data. What an earlier process left of its unsynced files there is
    ///   removed when the first lock is taken, which says that no such process is alive.
    init(_ base: any FileSystem, folder: String) {
        self.base = base
        scratch = Self.normal(folder + "/" + Self.scratchName)
    }

    /// One spelling for each path, since names are compared.
    private static func normal(_ path: String) -> String {
        let joined = path.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
        return path.hasPrefix("/") ? "/" + joined : joined.isEmpty ? "." : joined
    }

    private func failure(
        _ operation: FileIOError.Operation, _ path: String, _ reason: FileIOError.Reason, _ detail: String
    ) -> FileIOError {
        FileIOError(operation: operation, path: path, reason: reason, detail: detail)
    }

    // MARK: files

    func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File {
        let path = Self.normal(path)
        let file = try names.withLock { names throws(FileIOError) -> UnsyncedFile in
            let file = try fileToOpen(path, mode, &names)
            file.addHandles(1)
            return file
        }
        return PowerLossFile(
            path: path, file: file, isReadOnly: mode == .read, isDirect: caching == .direct, owner: self)
    }

    private func fileToOpen(
        _ path: String, _ mode: OpenMode, _ names: inout Names
    ) throws(FileIOError) -> UnsyncedFile {
        if let file = try find(path, &names) {
            guard mode != .create else { throw failure(.open, path, .alreadyExists, "File exists") }
            return file
        }
        guard mode == .create || mode == .createOrOpen else {
            throw failure(.open, path, .notFound, "No such file or directory")
        }
        guard try base.exists(directory(of: path)) else {
            throw failure(.open, path, .notFound, "No such file or directory")
        }
        let place = try newPlace(&names)
        let file = try UnsyncedFile(try base.open(place, .create), at: place)
        names.entries[path] = Name(file: file, isDurable: false)
        return file
    }

    private func newPlace(_ names: inout Names) throws(FileIOError) -> String {
        if names.made == 0 { try base.createDirectory(scratch) }
        names.made += 1
        return "\(scratch)/\(names.made)"
    }

    /// The file of a name as readers see it.
    private func find(_ path: String, _ names: inout Names) throws(FileIOError) -> UnsyncedFile? {
        if let name = names.entries[path] { return name.file }
        guard try base.exists(path) else { return nil }
        let file = try UnsyncedFile(try base.open(path, .readWrite), at: path)
        names.entries[path] = Name(file: file, isDurable: true)
        return file
    }

    /// A handle goes. What is as the real disk has it needs no memory here.
    func close(_ file: UnsyncedFile, _ path: String) {
        names.withLock { names in
            file.addHandles(-1)
            if let name = names.entries[path], name.file === file, name.isDurable, file.isUnused {
                names.entries[path] = nil
            }
        }
    }

    // MARK: names

    func createDirectory(_ path: String) throws(FileIOError) {
        let path = Self.normal(path)
        try names.withLock { names throws(FileIOError) in
            if let name = names.entries[path] {
                if name.file != nil { throw failure(.createDirectory, path, .alreadyExists, "File exists") }
                // The removed file of this name must go before the folder comes.
                try settle(directory(of: path), &names)
            }
            try base.createDirectory(path)
        }
    }

    func list(_ path: String) throws(FileIOError) -> [String] {
        let path = Self.normal(path)
        return try names.withLock { names throws(FileIOError) in
            var found = Set(try base.list(path))
            if scratch == Self.normal(path + "/" + Self.scratchName) { found.remove(Self.scratchName) }
            for (name, entry) in names.entries where directory(of: name) == path {
                let last = String(name.split(separator: "/").last ?? "")
                if entry.file == nil { found.remove(last) } else { found.insert(last) }
            }
            return found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        }
    }

    func exists(_ path: String) throws(FileIOError) -> Bool {
        let path = Self.normal(path)
        return try names.withLock { names throws(FileIOError) in
            if let name = names.entries[path] { return name.file != nil }
            return try base.exists(path)
        }
    }

    func rename(_ source: String, to destination: String) throws(FileIOError) {
        let (source, destination) = (Self.normal(source), Self.normal(destination))
        try names.withLock { names throws(FileIOError) in
            if try isFolder(source, names) { return try renameFolder(source, destination, &names) }
            guard let file = try find(source, &names), try base.exists(directory(of: destination)) else {
                throw failure(.rename, source, .notFound, "No such file or directory")
            }
            if try find(destination, &names) === file { return }
            names.entries[destination] = Name(file: file, isDurable: false)
            names.entries[source] = Name(file: nil, isDurable: false)
        }
    }

    func link(_ source: String, to destination: String) throws(FileIOError) {
        let (source, destination) = (Self.normal(source), Self.normal(destination))
        try names.withLock { names throws(FileIOError) in
            guard let file = try find(source, &names), try base.exists(directory(of: destination)) else {
                throw failure(.link, source, .notFound, "No such file or directory")
            }
            guard try find(destination, &names) == nil else {
                throw failure(.link, destination, .alreadyExists, "File exists")
            }
            names.entries[destination] = Name(file: file, isDurable: false)
        }
    }

    func remove(_ path: String) throws(FileIOError) {
        let path = Self.normal(path)
        try names.withLock { names throws(FileIOError) in
            if try isFolder(path, names) { throw failure(.remove, path, .other, "Is a directory") }
            guard try find(path, &names) != nil else {
                throw failure(.remove, path, .notFound, "No such file or directory")
            }
            names.entries[path] = Name(file: nil, isDurable: false)
        }
    }

    /// At once: an early removal is something that a power loss may leave too.
    func removeTree(_ path: String) throws(FileIOError) {
        let path = Self.normal(path)
        try names.withLock { names throws(FileIOError) in
            try rescueFiles(below: path, &names)
            for name in names.entries.keys where Self.isBelow(name, path) { names.entries[name] = nil }
            try base.removeTree(path)
        }
    }

    private func isFolder(_ path: String, _ names: Names) throws(FileIOError) -> Bool {
        guard names.entries[path] == nil, try base.exists(path) else { return false }
        // The seam has no question for this; a file is what can't be listed.
        return (try? base.list(path)) != nil
    }

    /// Folders are renamed at once, with the names in them, which were not durable yet.
    private func renameFolder(_ source: String, _ destination: String, _ names: inout Names) throws(FileIOError) {
        for folder in Set(names.entries.keys.filter { Self.isBelow($0, source) }.map(directory(of:))).sorted() {
            try settle(folder, &names)
        }
        try base.rename(source, to: destination)
        for (name, entry) in names.entries where Self.isBelow(name, source) {
            let moved = destination + name.dropFirst(source.count)
            names.entries[name] = nil
            names.entries[moved] = entry
            entry.file?.realPath = moved
        }
    }

    /// Moves real files out of a tree whose names outside of it are still to be made durable.
    private func rescueFiles(below path: String, _ names: inout Names) throws(FileIOError) {
        for (name, entry) in names.entries.sorted(by: { $0.key < $1.key }) where !Self.isBelow(name, path) {
            if let file = entry.file, Self.isBelow(file.realPath, path) { try moveAside(file, &names) }
        }
    }

    private func moveAside(_ file: UnsyncedFile, _ names: inout Names) throws(FileIOError) {
        let place = try newPlace(&names)
        try base.rename(file.realPath, to: place)
        file.realPath = place
    }

    private static func isBelow(_ path: String, _ folder: String) -> Bool {
        path == folder || path.hasPrefix(folder + "/")
    }

    // MARK: durability

    func syncDirectory(_ path: String) throws(FileIOError) {
        let path = Self.normal(path)
        try names.withLock { names throws(FileIOError) in try settle(path, &names) }
        try base.syncDirectory(path)
    }

    /// Does on the real disk what was done to the names of one folder. Names that take the place of a file which is to
    /// move come after it, so that a kill in between leaves old or new names; only a circle of renames goes through the
    /// scratch folder.
    private func settle(_ folder: String, _ names: inout Names) throws(FileIOError) {
        var open = names.entries.keys.filter { directory(of: $0) == folder && names.entries[$0]?.isDurable == false }
            .sorted()
        while !open.isEmpty {
            var waiting: [String] = []
            for path in open {
                if owner(of: path, names) == nil { try settleName(path, &names) } else { waiting.append(path) }
            }
            if waiting.count == open.count, let first = waiting.first, let file = owner(of: first, names) {
                try makeWay(file, &names)
            }
            open = waiting
        }
        for (name, entry) in names.entries where directory(of: name) == folder && entry.isDurable {
            if entry.file?.isUnused ?? true { names.entries[name] = nil }
        }
    }

    /// A rename between two folders is durable when either is synced, so it is finished in the other one here.
    private func makeWay(_ file: UnsyncedFile, _ names: inout Names) throws(FileIOError) {
        let targets = names.entries.filter { $0.value.file === file && !$0.value.isDurable }.keys.sorted()
        if let target = targets.first(where: { owner(of: $0, names) == nil }) {
            try settleName(target, &names)
        } else {
            try moveAside(file, &names)
        }
    }

    /// The file that is really at `path` and that only another name, not yet settled, leads to.
    private func owner(of path: String, _ names: Names) -> UnsyncedFile? {
        let wanted = names.entries[path]?.file
        for entry in names.entries.values {
            if let file = entry.file, file !== wanted, file.realPath == path { return file }
        }
        return nil
    }

    private func settleName(_ path: String, _ names: inout Names) throws(FileIOError) {
        guard let file = names.entries[path]?.file else {
            if try base.exists(path) { try base.remove(path) }
            names.entries[path] = nil
            return
        }
        if file.realPath != path {
            // A name that is not known here is as the real disk has it.
            let other = names.entries[file.realPath]
            let staysThere = !Self.isBelow(file.realPath, scratch) && (other == nil || other?.file === file)
            if staysThere {
                if try base.exists(path) { try base.remove(path) }
                try base.link(file.realPath, to: path)
            } else {
                try base.rename(file.realPath, to: path)
                file.realPath = path
            }
        }
        names.entries[path]?.isDurable = true
    }

    func lock(_ path: String) throws(FileIOError) -> any DirectoryLock {
        let lock = try base.lock(path)
        try names.withLock { names throws(FileIOError) in
            guard names.made == 0 else { return }
            try base.removeTree(scratch)
        }
        return lock
    }
}
