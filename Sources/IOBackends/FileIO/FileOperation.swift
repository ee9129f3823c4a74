// Several operations of files given to a backend at once: what a key-value store's parallel lookups, a compaction's
// read-ahead and the syncs of many logs have in common. A backend may do them in any order and at the same time; the
// caller gets every outcome, also when an earlier one failed.

/// One operation of a batch and, after ``FileSystem/perform(_:)``, what came of it.
///
/// The memory that an operation names must stay valid, and nobody else may touch it, until the batch returns.
public struct FileOperation {
    public enum Kind {
        /// Reads until the buffer is full or the file ends.
        case read(into: UnsafeMutableRawBufferPointer, at: UInt64)
        /// Writes the buffers one after another.
        case write([UnsafeRawBufferPointer], at: UInt64, durability: WriteDurability)
        /// Makes the writes durable that had completed before the batch began.
        case sync
    }

    public let file: any File
    public let kind: Kind
    /// Bytes moved, 0 for a sync; nil before the batch was performed.
    public var outcome: Result<Int, FileIOError>?

    public init(_ file: any File, _ kind: Kind) {
        self.file = file
        self.kind = kind
    }

    /// The bytes moved, or the error. Only after the batch was performed.
    public func get() throws(FileIOError) -> Int {
        guard let outcome else { preconditionFailure("an operation has no outcome before its batch was performed") }
        return try outcome.get()
    }

    /// Performs it alone with the file's own calls.
    public mutating func performAlone() {
        do throws(FileIOError) {
            switch kind {
            case .read(let buffer, let position):
                outcome = .success(try file.read(into: buffer, at: position))
            case .write(let buffers, let position, let durability):
                try file.write(buffers, at: position, durability: durability)
                outcome = .success(buffers.reduce(0) { $0 + $1.count })
            case .sync:
                try file.sync()
                outcome = .success(0)
            }
        } catch {
            outcome = .failure(error)
        }
    }
}

extension FileSystem {
    public var batchesGain: Bool { false }

    /// One after another: right for every backend, fast for none.
    public func perform(_ operations: inout [FileOperation]) {
        for position in operations.indices { operations[position].performAlone() }
    }
}
