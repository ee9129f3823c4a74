// The one error of the storage module. Each message says what happened and what a person can do about it; a corrupt
// byte is always named by file and position, because "corruption" alone helps nobody.
public import FileIO
internal import Memory

/// Why a storage call failed.
public enum StorageError: Error, Hashable, Sendable {
    /// The disk refused a call. After one of these on a write the store may be read-only; see ``readOnly(_:)``.
    case io(FileIOError)
    /// Bytes on disk are not what was written. `position` is the byte offset in the file.
    case corruption(path: String, position: UInt64, detail: String)
    /// A file that the manifest names is gone.
    case missingFile(path: String)
    /// The folder was written by another version of Strata.
    case unsupportedVersion(path: String, found: UInt32, supported: UInt32)
    case keyTooLong(bytes: Int)
    case valueTooLong(bytes: Int)
    /// The bytes are not a write batch.
    case invalidBatch(String)
    /// A log entry was applied again or out of order.
    case staleEntry(index: UInt64, applied: UInt64)
    /// An earlier write failed in a way that leaves the disk's content unknown. Reads go on, writes don't.
    case readOnly(String)
    /// The allocator has no memory left.
    case outOfMemory(String)
    /// The store has given out all its numbers, so that nothing more can be applied to it. No store comes to that by
    /// counting; one that was sent by a peer may say so.
    case exhausted(String)
}

extension StorageError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .io(let error): error.description
        case .corruption(let path, let position, let detail):
            "\(path) is corrupt at byte \(position): \(detail); replace the disk if it fails more often, remove this "
                + "store's folder and let the node catch up from its peers"
        case .missingFile(let path):
            "\(path) is missing; put it back, or remove this store's folder and let the node catch up from its peers"
        case .unsupportedVersion(let path, let found, let supported):
            "\(path) has format version \(found), this build reads version \(supported); use the build that wrote it"
        case .keyTooLong(let bytes): "a key of \(bytes) bytes is too long; the limit is \(StorageLimits.keyBytesMax)"
        case .valueTooLong(let bytes):
            "a value of \(bytes) bytes is too long; the limit is \(StorageLimits.valueBytesMax)"
        case .invalidBatch(let detail): "not a write batch: \(detail)"
        case .staleEntry(let index, let applied):
            "log entry \(index) was applied before (the store is at \(applied)); apply each entry once, in order"
        case .readOnly(let cause):
            "the store is read-only since an earlier failure (\(cause)); mend the disk and restart the node"
        case .outOfMemory(let detail), .exhausted(let detail): detail
        }
    }
}

/// Runs a disk call, turning its error into this module's.
@inline(__always)  // a plain do/catch by another name; a real closure would cost an allocation per call
func disk<Result: ~Copyable>(
    _ call: () throws(FileIOError) -> Result
) throws(StorageError) -> Result {
    do throws(FileIOError) {
        return try call()
    } catch {
        throw .io(error)
    }
}

extension StorageError {
    init(_ error: MemoryError) {
        self = .outOfMemory(error.description)
    }
}

/// Bounds of keys and values.
public enum StorageLimits {
    public static let keyBytesMax = 64 * 1024
    public static let valueBytesMax = 64 * 1024 * 1024
    /// Operations in one batch; the count field is 32 bits, half of it is more than anybody can send.
    public static let batchOperationsMax = 1 << 31
    /// Numbers of files, entries and bytes that no store reaches by counting: read from a file they are damage.
    static let countMax: UInt64 = 1 << 62
}
