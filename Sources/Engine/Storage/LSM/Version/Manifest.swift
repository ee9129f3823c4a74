// The append-only file of version edits, each synced before anything relies on it. A record carries its own position,
// which promises that everything in front of it was synced: so a broken record with a good one behind it is corruption,
// and a broken last record is a torn append that nobody was told about. An empty record (the seal) follows each synced
// one at once, unsynced, so that the last edit has its promise too. It must never guess between the two.
internal import CEngine
internal import FileIO

struct Manifest {
    let number: UInt64
    private let file: any File
    /// Where the next record goes.
    private(set) var position: UInt64
    /// Size of the first record, which describes everything.
    private let snapshotBytes: UInt64

    /// `u32 crc32c | u32 payload bytes | u64 position`, then the payload, zero-padded to 8 bytes.
    static let headerBytes = 16
    /// True once a seal could not be written: the next edit goes into a new manifest.
    private var lacksSeal = false

    /// A record of this size would describe a million tables.
    static let payloadBytesMax = 1 << 28
    /// A manifest below this size is never rewritten.
    private static let rewriteBytes: UInt64 = 1 << 20

    static func name(_ number: UInt64) -> String { StoreFile.manifest(number).name }

    /// Writes a new manifest that holds `state`, syncs it and reads it back. CURRENT does not name it yet.
    init(
        creating number: UInt64, state: ManifestState, directory: String, fileSystem: any FileSystem
    ) throws(StorageError) {
        let path = directory + "/" + Self.name(number)
        self.number = number
        let payload = state.snapshot.encode()
        let record = Self.record(payload, position: 0, manifest: number)
        file = try disk { () throws(FileIOError) in
            if try fileSystem.exists(path) { try fileSystem.remove(path) }
            let file = try fileSystem.open(path, .create)
            try file.write(bytes: record, at: 0)
            try file.sync()
            return file
        }
        position = UInt64(record.count)
        snapshotBytes = position
        let written = try disk { () throws(FileIOError) in try file.read(count: record.count, at: 0) }
        guard written == record else {
            throw .corruption(path: path, position: 0, detail: "the disk gave back other bytes than were written")
        }
    }

    /// Appends one edit; durable on return.
    mutating func append(_ edit: VersionEdit) throws(StorageError) {
        let record = Self.record(edit.encode(), position: position, manifest: number)
        try disk { () throws(FileIOError) in
            try file.write(bytes: record, at: position)
            try file.sync()
        }
        position += UInt64(record.count)
        seal()
    }

    private mutating func seal() {
        let seal = Self.record([], position: position, manifest: number)
        do throws(FileIOError) {
            try file.write(bytes: seal, at: position)
            position += UInt64(seal.count)
        } catch {
            // The edit itself is durable, so this is no failure of the caller's; only nothing may follow in this file.
            lacksSeal = true
        }
    }

    /// True when most of the file is history.
    var wantsRewrite: Bool {
        lacksSeal || position > Self.rewriteBytes && position > 5 * snapshotBytes
    }

    static func record(_ payload: [UInt8], position: UInt64, manifest: UInt64) -> [UInt8] {
        precondition(payload.count <= payloadBytesMax, "a manifest record stays below \(payloadBytesMax) bytes")
        var record: [UInt8] = []
        record.append(littleEndian: UInt32(0))
        record.append(littleEndian: UInt32(payload.count))
        record.append(littleEndian: position)
        record.append(contentsOf: payload)
        record.store(littleEndian: checksum(record[4...], manifest: manifest), at: 0)
        while record.count % 8 != 0 { record.append(0) }
        return record
    }

    private static func checksum(_ bytes: ArraySlice<UInt8>, manifest: UInt64) -> UInt32 {
        var context: [UInt8] = []
        context.append(littleEndian: manifest)
        return bytes.withUnsafeBytes { bytes in
            strata_crc32c(strata_crc32c(0, context, context.count), bytes.baseAddress, bytes.count)
        }
    }
}

// Reading a manifest back.
extension Manifest {
    /// Sums up a manifest's edits.
    /// - Throws: ``StorageError/corruption(path:position:detail:)`` unless the file is whole up to a torn last append;
    ///   ``StorageError/unsupportedVersion(path:found:supported:)``.
    static func load(
        _ bytes: [UInt8], number: UInt64, path: String
    ) throws(StorageError) -> ManifestState {
        var state: ManifestState?
        var position = 0
        while position < bytes.count {
            guard let payload = payload(in: bytes, at: position, manifest: number) else {
                try checkTornTail(bytes, from: position, number: number, path: path)
                break
            }
            let edit = bytes[payload].withUnsafeBytes { VersionEdit($0) }
            if state == nil { state = try initialState(edit, bytes[payload], path: path) }
            guard let edit else {
                throw .corruption(path: path, position: UInt64(position), detail: "an edit of unknown form")
            }
            state?.apply(edit)
            position = (payload.upperBound + 7) / 8 * 8
        }
        guard let state else {
            // CURRENT named this file only after its first record was synced and read back.
            throw .corruption(path: path, position: 0, detail: "the first record is broken")
        }
        if let fault = state.contradiction { throw .corruption(path: path, position: 0, detail: fault) }
        return state
    }

    private static func initialState(
        _ edit: VersionEdit?, _ payload: ArraySlice<UInt8>, path: String
    ) throws(StorageError) -> ManifestState {
        // The format comes first in every version, so that an older build can name what it can't read.
        let version = payload.withUnsafeBytes { buffer -> UInt32? in
            var reader = ByteReader(buffer)
            return reader.read(UInt8.self) == 1 ? reader.read(UInt32.self) : nil
        }
        guard let version else {
            throw .corruption(path: path, position: 0, detail: "the first record does not say its format")
        }
        guard version == VersionEdit.formatVersion else {
            throw .unsupportedVersion(path: path, found: version, supported: VersionEdit.formatVersion)
        }
        guard let format = edit?.format else {
            throw .corruption(path: path, position: 0, detail: "an edit of unknown form")
        }
        return ManifestState(store: format.store)
    }

    /// The payload of the record at `position`, or nil when there is no good record.
    private static func payload(in bytes: [UInt8], at position: Int, manifest: UInt64) -> Range<Int>? {
        guard bytes.count - position >= headerBytes else { return nil }
        let header = bytes.withUnsafeBytes { buffer in
            (
                checksum: UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: position, as: UInt32.self)),
                count: UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self)),
                position: UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: position + 8, as: UInt64.self))
            )
        }
        guard header.position == UInt64(position), Int(header.count) <= payloadBytesMax,
            Int(header.count) <= bytes.count - position - headerBytes
        else { return nil }
        let end = position + headerBytes + Int(header.count)
        guard checksum(bytes[position + 4..<end], manifest: manifest) == header.checksum else { return nil }
        return position + headerBytes..<end
    }

    /// Refuses when a good record lies behind the broken one: that one promised that all before it was synced.
    private static func checkTornTail(
        _ bytes: [UInt8], from position: Int, number: UInt64, path: String
    ) throws(StorageError) {
        var next = position / 8 * 8 + 8
        while next < bytes.count {
            if payload(in: bytes, at: next, manifest: number) != nil {
                throw .corruption(
                    path: path, position: UInt64(position),
                    detail: "a broken record in front of a good one at byte \(next)")
            }
            next += 8
        }
    }
}
