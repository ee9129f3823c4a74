// The last bytes of a table: where its other parts are, which table it is, and how long the file has to be.
internal import CEngine

/// Which table of which store: mixed into every block's checksum.
struct TableIdentity: Hashable, Sendable {
    /// The store's own number, drawn when its folder was made.
    var store: UInt64
    /// The file's number.
    var number: UInt64
}

struct TableFooter: Hashable {
    static let bytes = 96
    static let version: UInt32 = 2
    /// "STRATSST" read as little endian.
    static let magic: UInt64 = 0x5453_5354_4152_5453

    var identity: TableIdentity
    var filter: BlockHandle
    var index: BlockHandle
    /// ``BlockHandle/none`` when there are none.
    var rangeDeletes: BlockHandle
    var properties: BlockHandle
    var fileSize: UInt64
    /// The index names parts of the index instead of data blocks.
    var hasIndexParts = false

    /// Bits of the flags field.
    private static let indexPartsFlag: UInt32 = 1

    func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(littleEndian: Self.magic)
        output.append(littleEndian: Self.version)
        output.append(littleEndian: hasIndexParts ? Self.indexPartsFlag : 0)
        output.append(littleEndian: identity.store)
        output.append(littleEndian: identity.number)
        filter.encode(into: &output)
        index.encode(into: &output)
        rangeDeletes.encode(into: &output)
        properties.encode(into: &output)
        output.append(littleEndian: fileSize)
        output.append(littleEndian: UInt32(0))
        output.append(littleEndian: strata_crc32c(0, output, output.count))
        precondition(output.count == Self.bytes, "the footer has a fixed size")
        return output
    }

    init(
        identity: TableIdentity, filter: BlockHandle, index: BlockHandle, rangeDeletes: BlockHandle,
        properties: BlockHandle, fileSize: UInt64, hasIndexParts: Bool = false
    ) {
        self.identity = identity
        self.filter = filter
        self.index = index
        self.rangeDeletes = rangeDeletes
        self.properties = properties
        self.fileSize = fileSize
        self.hasIndexParts = hasIndexParts
    }

    /// Reads the last 96 bytes of a table of `fileSize` bytes at `path`.
    init(_ bytes: [UInt8], path: String, fileSize: UInt64) throws(StorageError) {
        let position = fileSize - min(fileSize, UInt64(Self.bytes))
        func corrupt(_ detail: String) -> StorageError {
            .corruption(path: path, position: position, detail: detail)
        }
        guard bytes.count == Self.bytes else { throw corrupt("the file is too short for a table") }
        let fields = bytes.withUnsafeBytes { Fields($0) }
        guard fields.magic == Self.magic else { throw corrupt("the footer's magic number is missing") }
        guard strata_crc32c(0, bytes, Self.bytes - 4) == fields.checksum else {
            // A later version may have another layout, and so another place for the checksum.
            if fields.version > Self.version, fields.version <= Self.versionMax {
                throw .unsupportedVersion(path: path, found: fields.version, supported: Self.version)
            }
            throw corrupt("checksum mismatch in the footer")
        }
        guard fields.version == Self.version else {
            throw .unsupportedVersion(path: path, found: fields.version, supported: Self.version)
        }
        guard fields.flags & ~Self.indexPartsFlag == 0 else {
            throw corrupt(
                "the footer has flags \(fields.flags) that this build does not know; use the one that wrote it")
        }
        guard let footer = fields.footer, footer.fileSize == fileSize else {
            throw corrupt("the footer describes a file of another size than \(fileSize)")
        }
        for handle in [footer.filter, footer.index, footer.rangeDeletes, footer.properties]
        where !handle.lies(within: position) {
            throw corrupt("the footer points outside the file")
        }
        self = footer
    }

    /// Numbers above are a damaged field rather than a version to come.
    private static let versionMax: UInt32 = 1000

    private struct Fields {
        var magic: UInt64 = 0
        var version: UInt32 = 0
        var flags: UInt32 = 0
        var checksum: UInt32 = 0
        var footer: TableFooter?

        init(_ buffer: UnsafeRawBufferPointer) {
            var tail = ByteReader(buffer, from: TableFooter.bytes - 4)
            checksum = tail.read(UInt32.self) ?? 0
            var reader = ByteReader(buffer)
            magic = reader.read(UInt64.self) ?? 0
            version = reader.read(UInt32.self) ?? 0
            flags = reader.read(UInt32.self) ?? 0
            guard let store = reader.read(UInt64.self),
                let number = reader.read(UInt64.self), let filter = BlockHandle(&reader),
                let index = BlockHandle(&reader), let rangeDeletes = BlockHandle(&reader),
                let properties = BlockHandle(&reader), let fileSize = reader.read(UInt64.self)
            else { return }
            footer = TableFooter(
                identity: TableIdentity(store: store, number: number), filter: filter, index: index,
                rangeDeletes: rangeDeletes, properties: properties, fileSize: fileSize,
                hasIndexParts: flags & TableFooter.indexPartsFlag != 0)
        }
    }
}

extension BlockHandle {
    /// True when the block and its trailer end at or before `end`.
    func lies(within end: UInt64) -> Bool {
        offset <= end && UInt64(size) + UInt64(BlockFrame.trailerBytes) <= end - offset
    }
}
