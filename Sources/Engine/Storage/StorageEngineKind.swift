// The switch between the storage engines: which one, and how each is set up. Chosen once when a store is opened;
// nothing behind the KeyValueStore protocol may ask which engine it is.
public import FileIO

/// A storage engine by the name that users type.
public enum StorageEngineKind: String, CaseIterable, Sendable, Hashable {
    case lsm
    case hashlog
}

/// How each engine is set up; only the chosen one's part is read.
public struct StoreOptions: Sendable, Hashable {
    public var lsm = LSMOptions()
    public var hashLog = HashLogOptions()

    public init() {}
}

/// Opens or creates a store of the given kind in `directory`.
/// - Throws: ``StorageError/missingFile(path:)`` when another engine wrote the folder, and what the engine's own `open`
///   throws.
public func openStore(
    kind: StorageEngineKind, directory: String, fileSystem: any FileSystem, options: StoreOptions = StoreOptions()
) throws(StorageError) -> any KeyValueStore {
    // A folder of the other engine would look like an empty one of this engine.
    let foreign = kind == .lsm ? HashLogCheckpoint.name : StoreFile.current.name
    let isForeign = try disk { () throws(FileIOError) in try fileSystem.exists(directory + "/" + foreign) }
    guard !isForeign else {
        throw .missingFile(
            path: directory + "/" + (kind == .lsm ? StoreFile.current.name : HashLogCheckpoint.name)
                + " (\(foreign) says that another engine wrote this folder: choose that engine)")
    }
    switch kind {
    case .lsm: return try LSMStore.open(directory: directory, fileSystem: fileSystem, options: options.lsm)
    case .hashlog: return try HashLogStore.open(directory: directory, fileSystem: fileSystem, options: options.hashLog)
    }
}
