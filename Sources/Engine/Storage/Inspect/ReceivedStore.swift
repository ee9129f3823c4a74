// Files that another node sent, before they become this node's store: their checksums say that they are what was sent,
// not that anything can be read from them. They are opened in a folder of links, so that opening, which writes, changes
// none of them.
public import FileIO

/// The check of received files.
public enum ReceivedStore {
    /// Memory for memtables and cached blocks while a store is only read once, in bytes.
    private static let memoryBytes = 4 << 20

    /// The sequence that a received store may end at: as much as a node applies in a thousand years is left.
    public static let sequenceMax: UInt64 = 1 << 55

    /// Opens the files as a store, reads every entry, and removes the folder of links again.
    ///
    /// - Parameters:
    ///   - names: the files, in `folder`.
    ///   - scratch: a folder on the same file system; what is there is removed.
    ///   - body: looks at the open store.
    /// - Throws: corruption, missing files, foreign versions and a used-up store as their own cases;
    ///   ``StorageError/io(_:)`` when this node's disk fails; what `body` throws.
    /// - Complexity: O(bytes); the hash log's index and a few MiB in memory.
    public static func check(
        _ names: [String], in folder: String, scratch: String, kind: StorageEngineKind, fileSystem: any FileSystem,
        options: StoreOptions, _ body: (any KeyValueStore) throws(StorageError) -> Void
    ) throws(StorageError) {
        try disk { () throws(FileIOError) in
            try fileSystem.removeTree(scratch)
            try fileSystem.createDirectory(scratch)
            for name in names { try fileSystem.link("\(folder)/\(name)", to: "\(scratch)/\(name)") }
        }
        defer { try? fileSystem.removeTree(scratch) }
        if kind == .hashlog { try scan(scratch, fileSystem) }
        let store = try openStore(kind: kind, directory: scratch, fileSystem: fileSystem, options: small(options))
        defer { store.close() }
        guard store.lastSequence <= sequenceMax else {
            throw .exhausted(
                "the store says that it has given out \(store.lastSequence) sequences; no store comes to that")
        }
        if let tree = store as? LSMStore { _ = try tree.verify() }
        try body(store)
    }

    /// A hash log finds its keys by hints; its records are read one by one.
    private static func scan(_ folder: String, _ fileSystem: any FileSystem) throws(StorageError) {
        for report in try StorageInspection.verify(folder, fileSystem: fileSystem) {
            if let fault = report.fault { throw .corruption(path: report.path, position: 0, detail: fault) }
        }
    }

    private static func small(_ options: StoreOptions) -> StoreOptions {
        var options = options
        options.lsm.memtableBytes = LSMOptions.memtableBytesMin
        options.lsm.memtableHashIndex = false
        options.lsm.memoryBudgetBytes = memoryBytes
        return options
    }
}
