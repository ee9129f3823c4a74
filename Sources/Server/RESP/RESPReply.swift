// The answers of the RESP front end and their bytes (RESP2, and RESP3 where a client asked for it with HELLO 3). It
// must never let a line break into an error or a simple string: that would put the client out of step.
import Cluster
import KeyValue
import NIOCore

/// One answer.
enum RESPReply: Sendable {
    case ok
    case pong
    case null
    case bulk([UInt8])
    case integer(Int)
    /// A word that is no error.
    case status(String)
    case array([RESPReply])
    case nullArray
    /// A map, in RESP2 a flat array of names and values.
    case map([(String, RESPReply)])
    /// A code word and a sentence, without the dash.
    case error(String)
    /// The same, and the connection ends behind it.
    case fatal(String)
    /// `+OK`, and the connection ends behind it.
    case goodbye

    /// Nothing may be answered behind it.
    var endsConnection: Bool {
        switch self {
        case .fatal, .goodbye: true
        default: false
        }
    }

    /// Bytes on the wire, roughly.
    var size: Int {
        switch self {
        case .bulk(let bytes): bytes.count + 16
        case .array(let elements): elements.reduce(16) { $0 + $1.size }
        case .map(let pairs): pairs.reduce(16) { $0 + $1.0.utf8.count + 16 + $1.1.size }
        case .status(let text), .error(let text), .fatal(let text): text.utf8.count + 3
        default: 8
        }
    }

    /// The code says what the client may do: `TRYAGAIN` was certainly not applied, `UNKNOWN` may have been, `ERR` is
    /// the request's own fault.
    init(failure: RequestError) {
        switch failure {
        case .notLeader, .unavailable: self = .error("TRYAGAIN \(failure)")
        case .unknown: self = .fatal("UNKNOWN \(failure)")
        // In Redis's words, which client libraries know.
        case .invalid(.notAnInteger, IncrementRefusal.outOfRange):
            self = .error("ERR increment or decrement would overflow")
        case .invalid(.notAnInteger, _): self = .error("ERR value is not an integer or out of range")
        case .invalid, .storage: self = .error("ERR \(failure)")
        }
    }

    /// Appends the answer as protocol version 2 or 3 has it.
    func write(to buffer: inout ByteBuffer, version: Int) {
        switch self {
        case .ok, .goodbye: buffer.writeStaticString("+OK\r\n")
        case .pong: buffer.writeStaticString("+PONG\r\n")
        case .null: buffer.writeStaticString(version == 3 ? "_\r\n" : "$-1\r\n")
        case .bulk(let bytes): Self.writeBulk(bytes, to: &buffer)
        case .integer(let value): Self.writeHeader(UInt8(ascii: ":"), value, to: &buffer)
        case .array(let elements):
            Self.writeHeader(UInt8(ascii: "*"), elements.count, to: &buffer)
            for element in elements { element.write(to: &buffer, version: version) }
        case .nullArray: buffer.writeStaticString(version == 3 ? "_\r\n" : "*-1\r\n")
        case .map(let pairs):
            if version == 3 {
                Self.writeHeader(UInt8(ascii: "%"), pairs.count, to: &buffer)
            } else {
                Self.writeHeader(UInt8(ascii: "*"), pairs.count * 2, to: &buffer)
            }
            for (name, value) in pairs {
                Self.writeBulk(name.utf8, to: &buffer)
                value.write(to: &buffer, version: version)
            }
        case .status(let text): Self.writeLine(UInt8(ascii: "+"), text, to: &buffer)
        case .error(let text), .fatal(let text): Self.writeLine(UInt8(ascii: "-"), text, to: &buffer)
        }
    }

    /// One line of text; whatever would end it becomes a blank.
    private static func writeLine(_ type: UInt8, _ text: String, to buffer: inout ByteBuffer) {
        buffer.writeInteger(type)
        for byte in text.utf8 { buffer.writeInteger(byte < 0x20 ? UInt8(ascii: " ") : byte) }
        buffer.writeStaticString("\r\n")
    }

    /// `$length\r\n bytes \r\n`
    static func writeBulk(_ bytes: some Collection<UInt8>, to buffer: inout ByteBuffer) {
        writeHeader(UInt8(ascii: "$"), bytes.count, to: &buffer)
        buffer.writeBytes(bytes)
        buffer.writeStaticString("\r\n")
    }

    /// A type byte, a number and a line break, without making a String of the number.
    static func writeHeader(_ type: UInt8, _ number: Int, to buffer: inout ByteBuffer) {
        buffer.writeInteger(type)
        if number < 0 { buffer.writeInteger(UInt8(ascii: "-")) }
        var divisor: UInt = 1
        let magnitude = number.magnitude
        while magnitude / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            buffer.writeInteger(UInt8(ascii: "0") + UInt8(magnitude / divisor % 10))
            divisor /= 10
        }
        buffer.writeStaticString("\r\n")
    }
}
