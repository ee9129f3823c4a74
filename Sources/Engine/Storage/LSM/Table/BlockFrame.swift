// A block as it lies in a file: the bytes and an 8-byte trailer whose checksum also covers which file this is and where
// in it, so that a block in the wrong place fails like a damaged one.
internal import CEngine
internal import FileIO

/// Where a block's bytes lie in its file, the 8-byte trailer behind them not counted.
struct BlockHandle: Hashable, Sendable {
    var offset: UInt64
    var size: UInt32

    static let encodedBytes = 12
    static let none = BlockHandle(offset: 0, size: 0)

    func encode(into output: inout [UInt8]) {
        output.append(littleEndian: offset)
        output.append(littleEndian: size)
    }

    init(offset: UInt64, size: UInt32) {
        self.offset = offset
        self.size = size
    }

    init?(_ reader: inout ByteReader) {
        guard let offset = reader.read(UInt64.self), let size = reader.read(UInt32.self) else { return nil }
        self.init(offset: offset, size: size)
    }
}

/// What a block holds; stored in its trailer, so that one kind is never read as another.
enum BlockKind: UInt8 {
    case data = 1
    case index = 2
    case filter = 3
    case properties = 4
    case rangeDeletes = 5
}

enum BlockFrame {
    static let trailerBytes = 8
    /// A block holds all versions of its keys, at least one value of the greatest size with its key.
    static let sizeMax = 1 << 30

    /// The trailer of a block that will lie at `offset` of the table `identity`.
    static func trailer(
        of block: UnsafeRawBufferPointer, kind: BlockKind, compression: BlockCompression, identity: TableIdentity,
        offset: UInt64
    ) -> [UInt8] {
        var trailer: [UInt8] = [compression.rawValue, kind.rawValue, 0, 0]
        trailer.append(littleEndian: checksum(block, trailer, identity, offset))
        return trailer
    }

    static func checksum(
        _ block: UnsafeRawBufferPointer, _ head: [UInt8], _ identity: TableIdentity, _ offset: UInt64
    ) -> UInt32 {
        var context = head
        context.append(littleEndian: identity.store)
        context.append(littleEndian: identity.number)
        context.append(littleEndian: offset)
        return strata_crc32c(strata_crc32c(0, block.baseAddress, block.count), context, context.count)
    }
}

/// Owns the bytes of one block that was read and checked.
struct BlockBuffer: ~Copyable, @unchecked Sendable {
    // @unchecked: written only by `read`, before anybody else can see it.
    let bytes: UnsafeRawBufferPointer

    /// Reads and checks one block.
    /// - Throws: ``StorageError/corruption(path:position:detail:)`` naming the block's place in the file.
    init(
        reading handle: BlockHandle, kind: BlockKind, from file: any File, identity: TableIdentity
    ) throws(StorageError) {
        let total = Int(handle.size) + BlockFrame.trailerBytes
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: total, alignment: Self.alignment)
        let compression: BlockCompression
        do throws(StorageError) {
            let count = try disk { () throws(FileIOError) in try file.read(into: memory, at: handle.offset) }
            let view = UnsafeRawBufferPointer(memory)
            if let detail = Self.fault(view, count, kind, identity, handle.offset) {
                throw .corruption(path: file.path, position: handle.offset, detail: detail)
            }
            guard let known = BlockCompression(rawValue: memory[Int(handle.size)]) else {
                throw .corruption(
                    path: file.path, position: handle.offset,
                    detail: "unknown compression \(memory[Int(handle.size)]): a later version wrote it")
            }
            compression = known
        } catch {
            memory.deallocate()
            throw error
        }
        let stored = UnsafeRawBufferPointer(start: memory.baseAddress, count: Int(handle.size))
        guard compression != .none else {
            bytes = stored
            return
        }
        defer { memory.deallocate() }
        guard let unpacked = Self.unpack(stored, compression) else {
            throw .corruption(
                path: file.path, position: handle.offset, detail: "a block that \(compression.name) can't unpack")
        }
        bytes = unpacked
    }

    private static let alignment = 64

    private static func unpack(
        _ packed: UnsafeRawBufferPointer, _ compression: BlockCompression
    ) -> UnsafeRawBufferPointer? {
        guard let count = BlockCodec.unpackedBytes(packed) else { return nil }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: alignment)
        guard BlockCodec.unpack(packed, into: memory, compression) else {
            memory.deallocate()
            return nil
        }
        return UnsafeRawBufferPointer(memory)
    }

    deinit {
        bytes.deallocate()
    }

    /// Hands the memory over; whoever gets it deallocates it.
    consuming func take() -> UnsafeRawBufferPointer {
        let bytes = bytes
        discard self
        return bytes
    }

    private static func fault(
        _ memory: UnsafeRawBufferPointer, _ count: Int, _ kind: BlockKind, _ identity: TableIdentity, _ offset: UInt64
    ) -> String? {
        guard count == memory.count else { return "the file ends inside a block of \(memory.count) bytes" }
        let size = count - BlockFrame.trailerBytes
        let block = UnsafeRawBufferPointer(rebasing: memory[..<size])
        let head = [UInt8](memory[size..<size + 4])
        let stored = UInt32(littleEndian: memory.loadUnaligned(fromByteOffset: size + 4, as: UInt32.self))
        guard stored == BlockFrame.checksum(block, head, identity, offset) else {
            return "checksum mismatch in a block of \(size) bytes"
        }
        guard head[1] == kind.rawValue else { return "a block of kind \(head[1]) where kind \(kind.rawValue) belongs" }
        return nil
    }
}
