// Decompresses a batch's records piece by piece, so that checking a batch takes a fixed amount of memory however far
// its bytes expand: a piece is 64 KiB, a window at most 8 MiB (zstd), and the sum of all pieces has a limit. It must
// never trust a length that the compressed bytes claim.
import CLz4
import CZlib
import CZstd

/// How the records of a batch are compressed: the low three bits of its attributes.
public enum RecordCodec: Int, Sendable, CaseIterable {
    case none = 0
    case gzip = 1
    case snappy = 2
    /// LZ4 frames.
    case lz4 = 3
    case zstd = 4
}

/// Bounds of the record codec.
public enum RecordLimits {
    /// Bytes of one batch's records after decompression.
    public static let decompressedBytesMax = 32 * 1024 * 1024
    /// The base-2 logarithm of the largest zstd window that is taken: 8 MiB, which is what level 19 uses.
    public static let zstdWindowLogMax = 23
    /// The smallest encoding of a record: seven fields of one byte each.
    public static let recordBytesMin = 7
    static let pieceBytes = 64 * 1024
}

/// One codec's decoder.
private protocol Decompressor: AnyObject {
    /// Reads some of `input` and writes some of `output`. `isDone` when the compressed data is complete.
    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(RecordsError) -> Step
}

private struct Step {
    var read: Int
    var written: Int
    var isDone: Bool
}

/// The decompressed records of a batch, one piece after another. The compressed bytes must stay where they are for as
/// long as it is used.
final class RecordPieces {
    private var input: UnsafeRawBufferPointer
    private let decompressor: any Decompressor
    private let piece: UnsafeMutableRawBufferPointer
    private var total = 0
    private var isDone = false

    init(_ codec: RecordCodec, _ compressed: UnsafeRawBufferPointer) throws(RecordsError) {
        switch codec {
        case .none: preconditionFailure("records that are not compressed are read in place")
        case .gzip: decompressor = try Gzip()
        case .snappy: decompressor = Snappy()
        case .lz4: decompressor = try Lz4()
        case .zstd: decompressor = try Zstd()
        }
        input = compressed
        piece = .allocate(byteCount: RecordLimits.pieceBytes, alignment: 16)
    }

    deinit {
        piece.deallocate()
    }

    /// The next piece, never empty, valid until the one after it is asked for; nil at the end.
    func next() throws(RecordsError) -> UnsafeRawBufferPointer? {
        while !isDone {
            let step = try decompressor.step(input, into: piece)
            input = UnsafeRawBufferPointer(rebasing: input[step.read...])
            total += step.written
            guard total <= RecordLimits.decompressedBytesMax else {
                throw RecordsError(
                    .compressed,
                    "the records take more than \(RecordLimits.decompressedBytesMax) bytes when they are decompressed; "
                        + "send smaller batches")
            }
            isDone = step.isDone
            guard isDone || step.read > 0 || step.written > 0 else { throw Self.damaged("they end too early") }
            guard !isDone || input.isEmpty else { throw Self.damaged("other bytes follow them") }
            if step.written > 0 {
                return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(piece)[..<step.written])
            }
        }
        return nil
    }

    fileprivate static func damaged(_ why: String) -> RecordsError {
        RecordsError(.compressed, "the compressed records can't be decompressed: \(why); encode the batch anew")
    }
}

private let noMemory = RecordsError(.compressed, "there is no memory to decompress the records; try again")

/// gzip (RFC 1952), one or more members.
private final class Gzip: Decompressor {
    // zlib keeps a pointer to it, so it must not move.
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)

    init() throws(RecordsError) {
        stream.initialize(to: z_stream())
        // 15: the largest window; 16 more: a gzip header is expected.
        guard inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw noMemory
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(RecordsError) -> Step {
        let given = UInt32(clamping: input.count)
        // zlib's type lacks the const; it only reads.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: input.assumingMemoryBound(to: UInt8.self).baseAddress)
        stream.pointee.avail_in = given
        stream.pointee.next_out = output.assumingMemoryBound(to: UInt8.self).baseAddress
        stream.pointee.avail_out = UInt32(clamping: output.count)
        let status = inflate(stream, Z_NO_FLUSH)
        let read = Int(given - stream.pointee.avail_in)
        let written = output.count - Int(stream.pointee.avail_out)
        switch status {
        case Z_OK, Z_BUF_ERROR: return Step(read: read, written: written, isDone: false)
        case Z_STREAM_END:
            if read == input.count { return Step(read: read, written: written, isDone: true) }
            guard inflateReset(stream) == Z_OK else { throw noMemory }
            return Step(read: read, written: written, isDone: false)
        default: throw RecordPieces.damaged("gzip finds them damaged")
        }
    }
}

/// One LZ4 frame.
private final class Lz4: Decompressor {
    private let context: OpaquePointer

    init() throws(RecordsError) {
        var made: OpaquePointer?
        guard LZ4F_isError(LZ4F_createDecompressionContext(&made, UInt32(LZ4F_VERSION))) == 0, let made else {
            throw noMemory
        }
        context = made
    }

    deinit {
        LZ4F_freeDecompressionContext(context)
    }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(RecordsError) -> Step {
        var read = input.count
        var written = output.count
        let hint = LZ4F_decompress(context, output.baseAddress, &written, input.baseAddress, &read, nil)
        guard LZ4F_isError(hint) == 0 else { throw RecordPieces.damaged("LZ4 finds them damaged") }
        return Step(read: read, written: written, isDone: hint == 0)
    }
}

/// Zstandard frames.
private final class Zstd: Decompressor {
    private let context: OpaquePointer

    init() throws(RecordsError) {
        guard let made = ZSTD_createDCtx() else { throw noMemory }
        context = made
        _ = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Int32(RecordLimits.zstdWindowLogMax))
    }

    deinit {
        ZSTD_freeDCtx(context)
    }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(RecordsError) -> Step {
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let hint = ZSTD_decompressStream(context, &target, &source)
        guard ZSTD_isError(hint) == 0 else {
            throw RecordPieces.damaged("zstd finds them damaged, or made with a window of more than 8 MiB")
        }
        return Step(read: source.pos, written: target.pos, isDone: hint == 0 && source.pos == input.count)
    }
}

/// Snappy blocks: one alone, or many in the framing of Kafka's Java client (8 bytes of magic, 8 of versions, then
/// blocks with a length of 4 bytes in front).
private final class Snappy: Decompressor {
    private static let magic: [UInt8] = [0x82, 0x53, 0x4E, 0x41, 0x50, 0x50, 0x59, 0]
    private static let frameHeaderBytes = 16
    private var isFramed: Bool?
    private var block: [UInt8] = []
    /// What of the block was handed out.
    private var position = 0

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(RecordsError) -> Step {
        var read = 0
        if position == block.count {
            read = try nextBlock(input)
            position = 0
        }
        let count = min(output.count, block.count - position)
        block.withUnsafeBytes { bytes in
            output.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[position..<position + count]))
        }
        position += count
        return Step(read: read, written: count, isDone: position == block.count && read == input.count)
    }

    private func nextBlock(_ input: UnsafeRawBufferPointer) throws(RecordsError) -> Int {
        var start = 0
        if isFramed == nil {
            let framed = input.count >= Self.frameHeaderBytes && input.starts(with: Self.magic)
            isFramed = framed
            if framed { start = Self.frameHeaderBytes }
        }
        guard isFramed == true else {
            block = try SnappyBlock.decode(input)
            return input.count
        }
        guard input.count - start >= 4 else { throw RecordPieces.damaged("a snappy block is cut off") }
        let length = Int(input.bigEndian(start, as: Int32.self))
        start += 4
        guard length > 0, length <= input.count - start else { throw RecordPieces.damaged("a snappy block is cut off") }
        block = try SnappyBlock.decode(UnsafeRawBufferPointer(rebasing: input[start..<start + length]))
        return start + length
    }
}

/// One raw snappy block.
private enum SnappyBlock {
    /// A copy of 64 bytes takes at least 3.
    private static let expansionMax = 22

    static func decode(_ input: UnsafeRawBufferPointer) throws(RecordsError) -> [UInt8] {
        var position = 0
        let count = try length(input, &position)
        guard count <= RecordLimits.decompressedBytesMax, count <= input.count * expansionMax else {
            throw RecordPieces.damaged("a snappy block claims \(count) bytes")
        }
        var output: [UInt8] = []
        output.reserveCapacity(count)
        while position < input.count {
            let tag = Int(input[position])
            position += 1
            guard tag & 3 != 0 else {
                let size = try literal(input, &position, tag >> 2)
                guard size <= input.count - position, size <= count - output.count else { throw damaged }
                output.append(contentsOf: input[position..<position + size])
                position += size
                continue
            }
            let (size, distance) = try copy(input, &position, tag)
            guard distance > 0, distance <= output.count, size <= count - output.count else { throw damaged }
            // Byte by byte: a copy may read what it writes.
            for _ in 0..<size { output.append(output[output.count - distance]) }
        }
        guard output.count == count else { throw damaged }
        return output
    }

    private static let damaged = RecordPieces.damaged("snappy finds them damaged")

    private static func number(
        _ input: UnsafeRawBufferPointer, _ position: inout Int, bytes: Int
    ) throws(RecordsError) -> Int {
        guard bytes <= input.count - position else { throw damaged }
        var value = 0
        for place in 0..<bytes { value |= Int(input[position + place]) << (8 * place) }
        position += bytes
        return value
    }

    private static func length(_ input: UnsafeRawBufferPointer, _ position: inout Int) throws(RecordsError) -> Int {
        var value = 0
        for shift in stride(from: 0, to: 35, by: 7) {
            let byte = try number(input, &position, bytes: 1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw damaged
    }

    private static func literal(
        _ input: UnsafeRawBufferPointer, _ position: inout Int, _ size: Int
    ) throws(RecordsError) -> Int {
        size < 60 ? size + 1 : try number(input, &position, bytes: size - 59) + 1
    }

    private static func copy(
        _ input: UnsafeRawBufferPointer, _ position: inout Int, _ tag: Int
    ) throws(RecordsError) -> (size: Int, distance: Int) {
        switch tag & 3 {
        case 1:
            let low = try number(input, &position, bytes: 1)
            return (((tag >> 2) & 7) + 4, ((tag >> 5) << 8) | low)
        case 2: return ((tag >> 2) + 1, try number(input, &position, bytes: 2))
        default: return ((tag >> 2) + 1, try number(input, &position, bytes: 4))
        }
    }
}
