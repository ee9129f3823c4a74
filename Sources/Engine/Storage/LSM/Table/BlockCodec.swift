// Packs and unpacks blocks. The libraries do the work; this decides when it is worth it and bounds what a stored block
// may claim about itself. It must never give back bytes whose number is not the one that was stored.
internal import CLz4
internal import CZstd
internal import Synchronization

/// How a table's data blocks are packed.
public enum BlockCompression: UInt8, Sendable, Hashable, CaseIterable {
    case none = 0
    /// Fast in both directions, for levels that are rewritten soon.
    case lz4 = 1
    /// Smaller, at about a third of the speed.
    case zstd = 2

    /// As people write it.
    public var name: String { "\(self)" }

    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }
}

/// A packed block is `u32 bytes of the block | packed bytes`, little endian.
enum BlockCodec {
    static let headerBytes = 4
    /// zstd's level: its own default, as RocksDB uses it.
    private static let zstdLevel: Int32 = 3

    /// The packed block, or nil when packing saves less than an eighth.
    static func pack(_ block: [UInt8], _ compression: BlockCompression) -> [UInt8]? {
        guard compression != .none, !block.isEmpty else { return nil }
        let most = block.count - block.count / 8 - headerBytes
        guard most > 0 else { return nil }
        var isSmaller = false
        let packed = [UInt8](unsafeUninitializedCapacity: headerBytes + most) { buffer, count in
            let memory = UnsafeMutableRawBufferPointer(buffer)
            memory.storeBytes(of: UInt32(block.count).littleEndian, as: UInt32.self)
            guard let target = memory.baseAddress.map({ $0 + headerBytes }) else { return }
            let made = block.withUnsafeBytes { block in
                pack(block, into: UnsafeMutableRawBufferPointer(start: target, count: most), compression)
            }
            isSmaller = made > 0
            count = isSmaller ? headerBytes + made : 0
        }
        return isSmaller ? packed : nil
    }

    /// - Returns: bytes made, 0 when they don't fit.
    private static func pack(
        _ block: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, _ compression: BlockCompression
    ) -> Int {
        switch compression {
        case .none: return 0
        case .lz4:
            return Int(
                LZ4_compress_default(
                    block.baseAddress, target.baseAddress, Int32(block.count), Int32(target.count)))
        case .zstd:
            return ZstdContexts.shared.withPacker { context in
                let made = ZSTD_compressCCtx(
                    context, target.baseAddress, target.count, block.baseAddress, block.count, zstdLevel)
                return ZSTD_isError(made) != 0 ? 0 : made
            }
        }
    }

    /// Bytes of the block that `packed` holds; nil when that makes no sense.
    static func unpackedBytes(_ packed: UnsafeRawBufferPointer) -> Int? {
        guard packed.count > headerBytes else { return nil }
        let count = Int(UInt32(littleEndian: packed.loadUnaligned(as: UInt32.self)))
        return count > 0 && count <= BlockFrame.sizeMax ? count : nil
    }

    /// Unpacks into memory of exactly ``unpackedBytes(_:)``.
    /// - Returns: false when the packed bytes are not what they say.
    static func unpack(
        _ packed: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, _ compression: BlockCompression
    ) -> Bool {
        let source = UnsafeRawBufferPointer(rebasing: packed.dropFirst(headerBytes))
        switch compression {
        case .none: return false
        case .lz4:
            let made = LZ4_decompress_safe(
                source.baseAddress, target.baseAddress, Int32(source.count), Int32(target.count))
            return Int(made) == target.count
        case .zstd:
            return ZstdContexts.shared.withUnpacker { context in
                let made = ZSTD_decompressDCtx(
                    context, target.baseAddress, target.count, source.baseAddress, source.count)
                return ZSTD_isError(made) == 0 && made == target.count
            }
        }
    }
}

/// zstd's working memory, kept between blocks: making it costs more than a block. Any thread borrows and gives back.
private final class ZstdContexts: Sendable {
    static let shared = ZstdContexts()
    /// Kept of each kind; what is above is freed at once.
    private static let keptMax = 4

    private struct Kept: @unchecked Sendable {
        // @unchecked: a context is in this list or in one caller's hands, never both.
        var packers: [OpaquePointer] = []
        var unpackers: [OpaquePointer] = []
    }

    private let kept = Mutex(Kept())

    func withPacker<Result>(_ body: (OpaquePointer?) -> Result) -> Result {
        let context = kept.withLock { $0.packers.popLast().map(Borrowed.init) }?.context ?? ZSTD_createCCtx()
        defer {
            let borrowed = context.map(Borrowed.init)
            let isKept = kept.withLock { kept in
                guard let borrowed, kept.packers.count < Self.keptMax else { return false }
                kept.packers.append(borrowed.context)
                return true
            }
            if !isKept { ZSTD_freeCCtx(context) }
        }
        return body(context)
    }

    func withUnpacker<Result>(_ body: (OpaquePointer?) -> Result) -> Result {
        let context = kept.withLock { $0.unpackers.popLast().map(Borrowed.init) }?.context ?? ZSTD_createDCtx()
        defer {
            let borrowed = context.map(Borrowed.init)
            let isKept = kept.withLock { kept in
                guard let borrowed, kept.unpackers.count < Self.keptMax else { return false }
                kept.unpackers.append(borrowed.context)
                return true
            }
            if !isKept { ZSTD_freeDCtx(context) }
        }
        return body(context)
    }

    private struct Borrowed: @unchecked Sendable {
        // @unchecked: see Kept.
        let context: OpaquePointer
    }
}
