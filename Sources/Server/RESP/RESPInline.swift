// Splits a plain-text command line into arguments by Redis's rules: blanks separate, "..." knows \n \r \t \b \a \\ \"
// and \xHH, '...' knows \' only, and a closing quote must be followed by a blank or the end. It never guesses: a quote
// that isn't closed is an error.
import NIOCore

/// The quoting rules of inline commands.
enum RESPInline {
    /// Appends the arguments of `line` to `output`, unquoted and back to back, and their ranges, relative to its reader
    /// index, to `ranges`. False when the quotes don't balance.
    /// - Complexity: O(n) in the bytes of the line.
    static func split(_ line: UnsafeRawBufferPointer, into output: inout ByteBuffer, ranges: inout [Range<Int>]) -> Bool
    {
        var index = 0
        while true {
            while index < line.count, isBlank(line[index]) { index += 1 }
            guard index < line.count else { return true }
            let start = output.readableBytes
            while index < line.count, !isBlank(line[index]) {
                switch line[index] {
                case UInt8(ascii: "\""):
                    guard let end = unquoteDouble(line, from: index + 1, into: &output) else { return false }
                    index = end
                case UInt8(ascii: "'"):
                    guard let end = unquoteSingle(line, from: index + 1, into: &output) else { return false }
                    index = end
                default:
                    output.writeInteger(line[index])
                    index += 1
                }
            }
            ranges.append(start..<output.readableBytes)
        }
    }

    /// Reads to the closing double quote; the index after it, or nil.
    private static func unquoteDouble(
        _ line: UnsafeRawBufferPointer, from start: Int, into output: inout ByteBuffer
    ) -> Int? {
        var index = start
        while index < line.count {
            let byte = line[index]
            if byte == UInt8(ascii: "\"") { return endOfQuote(line, at: index) }
            guard byte == UInt8(ascii: "\\"), index + 1 < line.count else {
                output.writeInteger(byte)
                index += 1
                continue
            }
            if line[index + 1] == UInt8(ascii: "x"), index + 3 < line.count, let high = hex(line[index + 2]),
                let low = hex(line[index + 3])
            {
                output.writeInteger(high << 4 | low)
                index += 4
                continue
            }
            output.writeInteger(unescaped(line[index + 1]))
            index += 2
        }
        return nil
    }

    /// Reads to the closing single quote; the index after it, or nil.
    private static func unquoteSingle(
        _ line: UnsafeRawBufferPointer, from start: Int, into output: inout ByteBuffer
    ) -> Int? {
        var index = start
        while index < line.count {
            let byte = line[index]
            if byte == UInt8(ascii: "'") { return endOfQuote(line, at: index) }
            if byte == UInt8(ascii: "\\"), index + 1 < line.count, line[index + 1] == UInt8(ascii: "'") { index += 1 }
            output.writeInteger(line[index])
            index += 1
        }
        return nil
    }

    private static func endOfQuote(_ line: UnsafeRawBufferPointer, at quote: Int) -> Int? {
        quote + 1 == line.count || isBlank(line[quote + 1]) ? quote + 1 : nil
    }

    private static func unescaped(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "n"): UInt8(ascii: "\n")
        case UInt8(ascii: "r"): UInt8(ascii: "\r")
        case UInt8(ascii: "t"): UInt8(ascii: "\t")
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "a"): 0x07
        default: byte
        }
    }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (byte >= 0x09 && byte <= 0x0d)
    }
}
