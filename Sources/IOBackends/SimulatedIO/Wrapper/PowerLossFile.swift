// A handle on a file of a disk that keeps what was not synced in memory, and the file behind its handles and names.
import FileIO
import Synchronization

/// One file, whatever its names and handles.
final class UnsyncedFile: Sendable {
    let content: Mutex<UnsyncedContent>
    /// Where the real file is, and how many handles there are. Guarded by the names' lock of the file system; a mutex
    /// only because a class that threads share has no plain variables.
    private let place: Mutex<(path: String, handles: Int)>

    init(_ base: any File, at path: String) throws(FileIOError) {
        content = Mutex(try UnsyncedContent(base))
        place = Mutex((path, 0))
    }

    var realPath: String {
        get { place.withLock { $0.path } }
        set { place.withLock { $0.path = newValue } }
    }

    var isUnused: Bool { place.withLock { $0.handles } == 0 && !content.withLock { $0.isDirty } }

    func addHandles(_ count: Int) { place.withLock { $0.handles += count } }
}

final class PowerLossFile: File {
    let path: String
    private let file: UnsyncedFile
    private let isReadOnly: Bool
    private let isDirect: Bool
    private let owner: PowerLossFileSystem

    init(path: String, file: UnsyncedFile, isReadOnly: Bool, isDirect: Bool, owner: PowerLossFileSystem) {
        self.path = path
        self.file = file
        self.isReadOnly = isReadOnly
        self.isDirect = isDirect
        self.owner = owner
    }

    deinit { owner.close(file, path) }

    func size() throws(FileIOError) -> UInt64 { file.content.withLock { $0.size } }

    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        try checkAlignment(UnsafeRawBufferPointer(buffer), position, .read)
        return try file.content.withLock { content throws(FileIOError) in
            try content.read(into: buffer, at: position)
        }
    }

    func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError) {
        let total = buffers.reduce(0) { $0 + $1.count }
        try checkChange(.write, end: position.addingReportingOverflow(UInt64(total)))
        for buffer in buffers { try checkAlignment(buffer, position, .write) }
        try file.content.withLock { content throws(FileIOError) in
            var next = position
            for buffer in buffers {
                try content.write(buffer, at: next)
                next += UInt64(buffer.count)
            }
            if durability == .power { try content.syncRange(position, count: total) }
        }
    }

    func sync() throws(FileIOError) {
        try file.content.withLock { content throws(FileIOError) in try content.sync() }
    }

    func truncate(to size: UInt64) throws(FileIOError) {
        try checkChange(.truncate, end: (size, false))
        file.content.withLock { $0.truncate(to: size) }
    }

    func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError) {
        try checkChange(.zeroFill, end: position.addingReportingOverflow(count))
        let zeros = [UInt8](repeating: 0, count: Int(min(count, 1 << 20)))
        var done: UInt64 = 0
        while done < count {
            let piece = zeros.prefix(Int(min(count - done, UInt64(zeros.count))))
            let next = position + done
            var failure: FileIOError?
            piece.withUnsafeBytes { bytes in
                do throws(FileIOError) {
                    try file.content.withLock { content throws(FileIOError) in try content.write(bytes, at: next) }
                } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
            done += UInt64(piece.count)
        }
    }

    func reserve(at position: UInt64, count: UInt64) throws(FileIOError) {
        guard count > 0 else { return }
        try checkChange(.reserve, end: position.addingReportingOverflow(count))
        try file.content.withLock { content throws(FileIOError) in try content.reserve(at: position, count: count) }
    }

    private func checkChange(
        _ operation: FileIOError.Operation, end: (partialValue: UInt64, overflow: Bool)
    ) throws(FileIOError) {
        if isReadOnly {
            throw FileIOError(
                operation: operation, path: path, reason: .permissionDenied, detail: "it was opened for reading only")
        }
        if end.overflow || end.partialValue > UInt64(Int64.max) {
            throw FileIOError(operation: operation, path: path, reason: .other, detail: "File too large")
        }
    }

    /// What the kernel refuses on a file that was opened with `O_DIRECT`.
    private func checkAlignment(
        _ buffer: UnsafeRawBufferPointer, _ position: UInt64, _ operation: FileIOError.Operation
    ) throws(FileIOError) {
        guard isDirect else { return }
        let address = UInt64(UInt(bitPattern: buffer.baseAddress))
        guard (address | UInt64(buffer.count) | position) % UInt64(FileCaching.alignmentBytes) == 0 else {
            throw FileIOError(operation: operation, path: path, reason: .other, detail: "Invalid argument")
        }
    }
}
