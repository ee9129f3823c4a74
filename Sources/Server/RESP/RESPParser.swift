// Cuts a byte stream into commands: RESP2 arrays of bulk strings, and the plain-text lines that a person types into
// `nc`. It is incremental (a command may arrive byte by byte, each byte is looked at once), copies nothing, and hands
// out the arguments as ranges of its buffer. It must never accept a length above the limits, for it decides what gets
// buffered.
import NIOCore

/// What is wrong with the bytes; the connection can't go on after it.
struct RESPProtocolError: Error, Hashable, Sendable {
    /// Follows `-ERR Protocol error: `.
    var sentence: String
}

/// An incremental parser of one connection's input.
///
/// `append` bytes, call `parse` until it is true, read the arguments, `consume`, and again.
struct RESPParser {
    private var buffer = ByteBuffer()
    /// The arguments of an inline command, unquoted, back to back; empty for an array.
    private var unquoted = ByteBuffer()
    private var isInline = false
    private var progress = Progress()

    /// Takes over received bytes.
    mutating func append(_ received: ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = received
            return
        }
        var received = received
        // What was consumed makes room before the buffer grows: a stream that never pauses between two commands would
        // make it grow for ever.
        if buffer.writableBytes < received.readableBytes { buffer.discardReadBytes() }
        buffer.writeBuffer(&received)
    }

    /// Memory that the buffer holds.
    var capacityBytes: Int { buffer.capacity }

    /// How many bytes wait in the buffer, parsed or not.
    var bufferedBytes: Int { buffer.readableBytes }

    /// Looks for one whole command; true when its arguments stand ready. Repeated calls before `consume` are free.
    mutating func parse() throws(RESPProtocolError) -> Bool {
        while true {
            if progress.isComplete { return true }
            guard let first = progress.offset == 0 ? buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) : 0
            else {
                return false
            }
            if progress.offset == 0 { isInline = first != UInt8(ascii: "*") }
            if isInline {
                guard try parseInline() else { return false }
            } else {
                let step = buffer.withUnsafeReadableBytes { progress.advance(through: $0) }
                switch step {
                case .complete: break
                case .needsMore: return false
                case .failed(let sentence): throw RESPProtocolError(sentence: sentence)
                }
            }
            // An empty line and an empty array say nothing; Redis skips them too.
            if progress.ranges.isEmpty { consume() }
        }
    }

    /// Elements of the parsed command.
    var argumentCount: Int { progress.ranges.count }

    /// Bytes of all arguments together.
    var argumentBytes: Int { progress.payloadBytes }

    /// A copy of one argument.
    func argument(_ index: Int) -> [UInt8] {
        withArgument(index) { [UInt8]($0) }
    }

    /// One argument in place.
    func withArgument<Value>(_ index: Int, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        let range = progress.ranges[index]
        let source = isInline ? unquoted : buffer
        return source.withUnsafeReadableBytes { body(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }

    /// Drops the parsed command.
    mutating func consume() {
        buffer.moveReaderIndex(forwardBy: progress.offset)
        progress.reset()
        unquoted.clear()
        if buffer.readableBytes == 0 {
            if buffer.capacity > RESPLimits.idleBufferBytesMax { buffer = ByteBuffer() } else { buffer.clear() }
        }
    }

    /// Parses one line of plain text; false when it isn't whole yet.
    private mutating func parseInline() throws(RESPProtocolError) -> Bool {
        let scanned = progress.scanned
        let newline = buffer.withUnsafeReadableBytes { bytes in
            bytes[scanned...].firstIndex(of: UInt8(ascii: "\n"))
        }
        guard let newline, newline < RESPLimits.lineBytesMax else {
            guard buffer.readableBytes < RESPLimits.lineBytesMax else {
                throw RESPProtocolError(sentence: "too big inline request")
            }
            progress.scanned = buffer.readableBytes
            return false
        }
        unquoted.clear()
        let isBalanced = buffer.withUnsafeReadableBytes { bytes in
            let line = UnsafeRawBufferPointer(rebasing: bytes[..<newline])
            return RESPInline.split(line, into: &unquoted, ranges: &progress.ranges)
        }
        guard isBalanced else { throw RESPProtocolError(sentence: "unbalanced quotes in request") }
        progress.payloadBytes = unquoted.readableBytes
        progress.finish(at: newline + 1)
        return true
    }
}

extension RESPParser {
    /// How far the command at the head of the buffer has been read. Offsets count from the buffer's reader index.
    private struct Progress {
        enum Step {
            case complete
            case needsMore
            case failed(String)
        }

        private(set) var offset = 0
        private(set) var isComplete = false
        var ranges: [Range<Int>] = []
        var payloadBytes = 0
        /// Up to here there is no newline.
        var scanned = 0
        /// Elements of the array; -1 before its header was read.
        private var expected = -1
        /// Length of the bulk string whose header was read; -1 between two.
        private var bulk = -1

        mutating func reset() {
            offset = 0
            isComplete = false
            ranges.removeAll(keepingCapacity: ranges.capacity <= RESPLimits.keysPerDeleteMax)
            payloadBytes = 0
            scanned = 0
            expected = -1
            bulk = -1
        }

        mutating func finish(at end: Int) {
            offset = end
            isComplete = true
        }

        /// Reads on in an array of bulk strings.
        mutating func advance(through bytes: UnsafeRawBufferPointer) -> Step {
            if expected < 0 {
                switch header(in: bytes, max: RESPLimits.argumentsMax) {
                case .value(let count): expected = max(0, count)
                case .needsMore: return .needsMore
                case .tooLong: return .failed("too big mbulk count string")
                case .invalid: return .failed("invalid multibulk length")
                }
            }
            while ranges.count < expected {
                if bulk < 0 {
                    guard offset < bytes.count else { return .needsMore }
                    guard bytes[offset] == UInt8(ascii: "$") else {
                        return .failed("expected '$', got '\(Self.printable(bytes[offset]))'")
                    }
                    switch header(in: bytes, max: RESPLimits.bulkBytesMax) {
                    case .value(let length) where length >= 0: bulk = length
                    case .needsMore: return .needsMore
                    case .tooLong: return .failed("too big bulk count string")
                    case .value, .invalid: return .failed("invalid bulk length")
                    }
                    payloadBytes += bulk
                    guard payloadBytes <= RESPLimits.commandBytesMax else {
                        return .failed("a command holds at most \(RESPLimits.commandBytesMax) bytes")
                    }
                }
                guard bytes.count - offset >= bulk + 2 else { return .needsMore }
                let end = offset + bulk
                guard bytes[end] == UInt8(ascii: "\r"), bytes[end + 1] == UInt8(ascii: "\n") else {
                    return .failed("a bulk string of \(bulk) bytes does not end where its length says")
                }
                ranges.append(offset..<end)
                offset = end + 2
                bulk = -1
            }
            isComplete = true
            return .complete
        }

        private enum Header {
            case value(Int)
            case needsMore
            case tooLong
            case invalid
        }

        /// Reads `*N\r\n` or `$N\r\n` at the offset. `*-1` is an empty command, as in Redis. A number has one spelling:
        /// no plus, no leading zeros.
        private mutating func header(in bytes: UnsafeRawBufferPointer, max: Int) -> Header {
            // A sign, ten digits and the line's end; anything longer is no length.
            let headerBytesMax = 16
            let start = offset + 1
            var index = start
            var value = 0
            var isNegative = false
            while index < bytes.count {
                let byte = bytes[index]
                if byte == UInt8(ascii: "\r") {
                    guard index + 1 < bytes.count else { return .needsMore }
                    guard bytes[index + 1] == UInt8(ascii: "\n"), index > start + (isNegative ? 1 : 0) else {
                        return .invalid
                    }
                    guard value <= max, value > 0 || !isNegative else { return .invalid }
                    offset = index + 2
                    return .value(isNegative ? -value : value)
                }
                guard index - start < headerBytesMax else { return .tooLong }
                if byte == UInt8(ascii: "-"), index == start {
                    isNegative = true
                } else {
                    guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return .invalid }
                    let hasDigits = index > start + (isNegative ? 1 : 0)
                    guard value > 0 || !hasDigits else { return .invalid }
                    value = value * 10 + Int(byte - UInt8(ascii: "0"))
                }
                index += 1
            }
            return .needsMore
        }

        private static func printable(_ byte: UInt8) -> Character {
            byte >= 0x20 && byte < 0x7f ? Character(UnicodeScalar(byte)) : "?"
        }
    }
}
