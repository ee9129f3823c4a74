// A block as it lies in a file: the bytes and an 8-byte trailer whose checksum also covers which file this is and where
// in it, so that a block in the wrong place fails like a damaged one.
internal import CEngine
internal import FileIO
internal import Memory

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
    /// A part of an index that has two levels.
    case indexPart = 6
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
        let head = UInt32(compression.rawValue) | UInt32(kind.rawValue) << 8
        trailer.append(littleEndian: checksum(block, head, identity, offset))
        return trailer
    }

    /// - Parameter head: the trailer's first four bytes.
    static func checksum(
        _ block: UnsafeRawBufferPointer, _ head: UInt32, _ identity: TableIdentity, _ offset: UInt64
    ) -> UInt32 {
        // On the stack: this runs for every block that is read.
        withUnsafeTemporaryAllocation(byteCount: contextBytes, alignment: 4) { context in
            context.storeBytes(of: head.littleEndian, as: UInt32.self)
            context.storeBytes(of: identity.store.littleEndian, toByteOffset: 4, as: UInt64.self)
            context.storeBytes(of: identity.number.littleEndian, toByteOffset: 12, as: UInt64.self)
            context.storeBytes(of: offset.littleEndian, toByteOffset: 20, as: UInt64.self)
            return strata_crc32c(
                strata_crc32c(0, block.baseAddress, block.count), context.baseAddress, contextBytes)
        }
    }

    private static let contextBytes = 28
}

/// Owns the bytes of one block that was read and checked.
struct BlockBuffer: ~Copyable, @unchecked Sendable {
    // @unchecked: written only by `read`, before anybody else can see it.
    let bytes: UnsafeRawBufferPointer

    /// Reads and checks one block.
    /// - Throws: ``StorageError/corruption(path:position:detail:)`` naming the block's place in the file.
    init(
        reading handle: BlockHandle, kind: BlockKind, from file: any File, identity: TableIdentity,
        allocator: AllocatorKind = .system
    ) throws(StorageError) {
        let memory = try Self.memory(for: handle, allocator)
        let count: Int
        do throws(StorageError) {
            count = try disk { () throws(FileIOError) in try file.read(into: memory, at: handle.offset) }
        } catch {
            UnsafeRawBufferPointer(memory).freeBlock()
            throw error
        }
        try self.init(taking: memory, count: count, of: handle, kind: kind, path: file.path, identity: identity)
    }

    /// Memory for a block as it lies in the file.
    static func memory(
        for handle: BlockHandle, _ allocator: AllocatorKind
    ) throws(StorageError) -> UnsafeMutableRawBufferPointer {
        try memory(bytes: Int(handle.size) + BlockFrame.trailerBytes, allocator)
    }

    private static func memory(
        bytes: Int, _ allocator: AllocatorKind
    ) throws(StorageError) -> UnsafeMutableRawBufferPointer {
        do throws(MemoryError) {
            return UnsafeMutableRawBufferPointer(
                start: try MemoryPiece.allocate(bytes: bytes, from: allocator), count: bytes)
        } catch {
            throw StorageError(error)
        }
    }

    /// Checks a block whose bytes were read into ``memory(for:)``. The memory belongs to this call, also when it
    /// throws.
    /// - Parameter count: bytes that were read.
    init(
        taking memory: UnsafeMutableRawBufferPointer, count: Int, of handle: BlockHandle, kind: BlockKind, path: String,
        identity: TableIdentity
    ) throws(StorageError) {
        do throws(StorageError) {
            let stored = UnsafeRawBufferPointer(rebasing: memory[..<count])
            let compression = try Self.check(stored, handle, kind, path, identity)
            if compression == .none {
                bytes = UnsafeRawBufferPointer(start: memory.baseAddress, count: Int(handle.size))
                return
            }
            bytes = try Self.unpack(stored, compression, handle, path)
        } catch {
            UnsafeRawBufferPointer(memory).freeBlock()
            throw error
        }
        UnsafeRawBufferPointer(memory).freeBlock()
    }

    deinit {
        bytes.freeBlock()
    }

    /// Hands the memory over; whoever gets it frees it with `freeBlock`.
    consuming func take() -> UnsafeRawBufferPointer {
        let bytes = bytes
        discard self
        return bytes
    }

    /// How the block's bytes are packed, once all is known to be as it was written.
    private static func check(
        _ stored: UnsafeRawBufferPointer, _ handle: BlockHandle, _ kind: BlockKind, _ path: String,
        _ identity: TableIdentity
    ) throws(StorageError) -> BlockCompression {
        func corrupt(_ detail: String) -> StorageError {
            .corruption(path: path, position: handle.offset, detail: detail)
        }
        let size = Int(handle.size)
        guard stored.count == size + BlockFrame.trailerBytes else {
            throw corrupt("the file ends inside a block of \(size + BlockFrame.trailerBytes) bytes")
        }
        let head = stored.loadUnaligned(fromByteOffset: size, as: UInt32.self)
        let found = UInt32(littleEndian: stored.loadUnaligned(fromByteOffset: size + 4, as: UInt32.self))
        let block = UnsafeRawBufferPointer(rebasing: stored[..<size])
        guard found == BlockFrame.checksum(block, UInt32(littleEndian: head), identity, handle.offset) else {
            throw corrupt("checksum mismatch in a block of \(size) bytes")
        }
        guard let compression = BlockCompression(rawValue: stored[size]) else {
            throw corrupt("unknown compression \(stored[size]); use the build that wrote it")
        }
        guard stored[size + 1] == kind.rawValue else {
            throw corrupt("a block of kind \(stored[size + 1]) where kind \(kind.rawValue) belongs")
        }
        return compression
    }

    private static func unpack(
        _ stored: UnsafeRawBufferPointer, _ compression: BlockCompression, _ handle: BlockHandle, _ path: String
    ) throws(StorageError) -> UnsafeRawBufferPointer {
        let packed = UnsafeRawBufferPointer(rebasing: stored[..<Int(handle.size)])
        guard let size = BlockCodec.unpackedBytes(packed) else {
            throw .corruption(
                path: path, position: handle.offset, detail: "\(compression.name) data of an impossible size")
        }
        let memory = try memory(bytes: size, packed.blockAllocator)
        guard BlockCodec.unpack(packed, into: memory, compression) else {
            UnsafeRawBufferPointer(memory).freeBlock()
            throw .corruption(
                path: path, position: handle.offset,
                detail: "\(compression.name) data that does not unpack to \(size) bytes")
        }
        return UnsafeRawBufferPointer(memory)
    }
}

extension UnsafeRawBufferPointer {
    /// Gives back a block's memory, which ``BlockBuffer`` took.
    func freeBlock() {
        // A block has at least its header, so it has a base.
        MemoryPiece.free(UnsafeMutableRawPointer(mutating: baseAddress!))
    }

    /// Where a block's memory came from.
    var blockAllocator: AllocatorKind { MemoryPiece.allocator(of: baseAddress!) }

    /// What a block's memory takes of its allocator.
    var blockHeldBytes: Int { MemoryPiece.heldBytes(baseAddress!) }
}
