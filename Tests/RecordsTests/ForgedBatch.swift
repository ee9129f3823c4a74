// Batches that no honest encoder makes: any header over any bytes, with the length and the checksum that go with them;
// and compression by the libraries themselves.
import CEngine
import CLz4
import CZlib
import CZstd
import Records

/// A batch whose checksum holds whatever it says.
struct ForgedBatch {
    var version: Int8 = 2
    var attributes: Int16 = 0
    var count: Int32 = 1
    /// Nil: one less than the count.
    var lastOffsetDelta: Int32?
    var baseTimestamp: Int64 = 1_700_000_000_000
    var producerID: Int64 = -1
    var producerEpoch: Int16 = -1
    var baseSequence: Int32 = -1
    var body: [UInt8] = []
    /// Added to the length that the header states.
    var lengthError: Int32 = 0

    var bytes: [UInt8] {
        var covered: [UInt8] = []
        covered.put(attributes)
        covered.put(lastOffsetDelta ?? (count &- 1))
        covered.put(baseTimestamp)
        covered.put(baseTimestamp)
        covered.put(producerID)
        covered.put(producerEpoch)
        covered.put(baseSequence)
        covered.put(count)
        covered += body
        var bytes: [UInt8] = []
        bytes.put(Int64(0))
        bytes.put(Int32(9 + covered.count) + lengthError)
        bytes.put(Int32(-1))
        bytes.put(version)
        bytes.put(strata_crc32c(0, covered, covered.count))
        return bytes + covered
    }

    /// Records with the values `value 0`, `value 1` and so on, as an honest encoder writes them.
    static func records(_ count: Int) -> [UInt8] {
        var batch = RecordBatch()
        for index in 0..<count {
            let headers = index % 3 == 0 ? [RecordHeader(key: "h", value: nil)] : []
            batch.append(
                key: index % 2 == 0 ? nil : [1, 2], value: Array("value \(index)".utf8), headers: headers,
                timestamp: 1_700_000_000_000 + Int64(index))
        }
        return Array(batch.encoded()[RecordBatchView.headerBytes...])
    }

    /// A record field by field; numbers as zig-zag varints.
    static func record(
        length: Int64? = nil, timestampDelta: Int64 = 0, offsetDelta: Int64 = 0, keyLength: Int64 = -1,
        key: [UInt8] = [], valueLength: Int64? = nil, value: [UInt8] = [7], headers: Int64 = 0, tail: [UInt8] = []
    ) -> [UInt8] {
        var body: [UInt8] = [0]
        body.putVarint(timestampDelta)
        body.putVarint(offsetDelta)
        body.putVarint(keyLength)
        body += key
        body.putVarint(valueLength ?? Int64(value.count))
        body += value
        body.putVarint(headers)
        body += tail
        var record: [UInt8] = []
        record.putVarint(length ?? Int64(body.count))
        return record + body
    }
}

extension [UInt8] {
    mutating func put(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    mutating func putVarint(_ value: Int64) {
        var rest = UInt64(bitPattern: (value << 1) ^ (value >> 63))
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }
}

enum Compressed {
    static func gzip(_ bytes: [UInt8]) -> [UInt8] {
        var stream = z_stream()
        var input = bytes
        return [UInt8](unsafeUninitializedCapacity: bytes.count + 1024) { output, count in
            input.withUnsafeMutableBufferPointer { input in
                let size = Int32(MemoryLayout<z_stream>.size)
                _ = deflateInit2_(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, size)
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(output.count)
                _ = deflate(&stream, Z_FINISH)
                count = output.count - Int(stream.avail_out)
                deflateEnd(&stream)
            }
        }
    }

    static func lz4(_ bytes: [UInt8]) -> [UInt8] {
        let bound = LZ4F_compressFrameBound(bytes.count, nil)
        return [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            count = LZ4F_compressFrame(output.baseAddress, bound, bytes, bytes.count, nil)
        }
    }

    static func zstd(_ bytes: [UInt8], level: Int32 = 3) -> [UInt8] {
        let bound = ZSTD_compressBound(bytes.count)
        return [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            count = ZSTD_compress(output.baseAddress, bound, bytes, bytes.count, level)
        }
    }

    /// A raw snappy block: literals, and each run of one byte as a copy of what stands before it.
    static func snappyBlock(_ bytes: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        var length = bytes.count
        while length >= 0x80 {
            output.append(UInt8(length & 0x7F) | 0x80)
            length >>= 7
        }
        output.append(UInt8(length))
        var position = 0
        while position < bytes.count {
            var run = 0
            if position > 0 {
                while run < 64, position + run < bytes.count, bytes[position + run] == bytes[position - 1] { run += 1 }
            }
            if run >= 4 {
                output += [UInt8((run - 1) << 2) | 2, 1, 0]
                position += run
            } else {
                output += [0, bytes[position]]
                position += 1
            }
        }
        return output
    }

    /// The framing of Kafka's Java client, in blocks of `blockBytes`.
    static func snappyFramed(_ bytes: [UInt8], blockBytes: Int) -> [UInt8] {
        var output: [UInt8] = [0x82, 0x53, 0x4E, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]
        for start in stride(from: 0, to: bytes.count, by: blockBytes) {
            let block = snappyBlock(Array(bytes[start..<min(start + blockBytes, bytes.count)]))
            output.put(Int32(block.count))
            output += block
        }
        return output
    }
}
