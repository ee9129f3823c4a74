// One reply of the Redis protocol (RESP2), cut out of received bytes without copying them. Knows the four replies that
// a key-value workload meets and the words by which Strata tells "not applied" from "unknown".

/// A reply inside a receive buffer; `payload` is valid until the buffer is read into again.
struct RESPReply {
    enum Kind: Hashable {
        /// `+OK`
        case status
        /// `-TRYAGAIN …`: certainly not applied, ask again.
        case tryAgain
        /// `-UNKNOWN …`: the write may have been applied.
        case unknown
        /// Any other `-…`: refused.
        case error
        /// `:1`
        case integer
        /// `$3 …`
        case bulk
        /// `$-1`: no such key.
        case null
    }

    var kind: Kind
    /// The text after the type byte, or the bytes of a bulk string; without line ends.
    var payload: UnsafeRawBufferPointer
    /// Bytes of the whole reply.
    var byteCount: Int
}

/// What is at the start of a receive buffer.
enum RESPParse {
    case reply(RESPReply)
    /// More bytes are needed.
    case incomplete
    /// Not a reply: the connection is of no more use.
    case malformed(String)
}

enum RESPParser {
    static let lineBytesMax = 64 * 1024
    static let bulkBytesMax = 64 * 1024 * 1024

    /// Looks at the first reply in `bytes`.
    /// - Complexity: O(length of the line, plus 1 for a bulk string); allocates nothing unless malformed.
    static func parse(_ bytes: UnsafeRawBufferPointer) -> RESPParse {
        guard bytes.count >= 3 else { return .incomplete }
        guard let end = lineEnd(bytes) else {
            return bytes.count > lineBytesMax ? .malformed("a line longer than 64 KiB") : .incomplete
        }
        let line = UnsafeRawBufferPointer(rebasing: bytes[1..<end])
        switch bytes[0] {
        case UInt8(ascii: "+"):
            return .reply(RESPReply(kind: .status, payload: line, byteCount: end + 2))
        case UInt8(ascii: "-"):
            return .reply(RESPReply(kind: errorKind(line), payload: line, byteCount: end + 2))
        case UInt8(ascii: ":"):
            return .reply(RESPReply(kind: .integer, payload: line, byteCount: end + 2))
        case UInt8(ascii: "$"):
            return bulk(bytes, line: line, lineEnd: end)
        default:
            return .malformed("a reply that begins with byte \(bytes[0])")
        }
    }

    private static func bulk(_ bytes: UnsafeRawBufferPointer, line: UnsafeRawBufferPointer, lineEnd: Int) -> RESPParse {
        guard let count = integer(line) else { return .malformed("a bulk string whose length is not a number") }
        if count == -1 {
            let nothing = UnsafeRawBufferPointer(rebasing: bytes[0..<0])
            return .reply(RESPReply(kind: .null, payload: nothing, byteCount: lineEnd + 2))
        }
        guard (0...bulkBytesMax).contains(count) else { return .malformed("a bulk string of \(count) bytes") }
        let start = lineEnd + 2
        guard bytes.count >= start + count + 2 else { return .incomplete }
        guard bytes[start + count] == 13, bytes[start + count + 1] == 10 else {
            return .malformed("a bulk string that does not end where it should")
        }
        let payload = UnsafeRawBufferPointer(rebasing: bytes[start..<start + count])
        return .reply(RESPReply(kind: .bulk, payload: payload, byteCount: start + count + 2))
    }

    /// Index of the first CR that is followed by LF.
    private static func lineEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var index = 1
        let last = min(bytes.count - 1, lineBytesMax)
        while index < last {
            if bytes[index] == 13, bytes[index + 1] == 10 { return index }
            index += 1
        }
        return nil
    }

    private static func integer(_ text: UnsafeRawBufferPointer) -> Int? {
        var index = 0
        let isNegative = text.count > 1 && text[0] == UInt8(ascii: "-")
        if isNegative { index = 1 }
        guard index < text.count, text.count - index <= 18 else { return nil }
        var value = 0
        while index < text.count {
            let digit = Int(text[index]) - 48
            guard (0...9).contains(digit) else { return nil }
            value = value * 10 + digit
            index += 1
        }
        return isNegative ? -value : value
    }

    private static func errorKind(_ line: UnsafeRawBufferPointer) -> RESPReply.Kind {
        if starts(line, with: "TRYAGAIN") { return .tryAgain }
        if starts(line, with: "UNKNOWN") { return .unknown }
        return .error
    }

    private static func starts(_ line: UnsafeRawBufferPointer, with word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard line.count >= count else { return false }
        for index in 0..<count where line[index] != word.utf8Start[index] {
            return false
        }
        return true
    }
}
