// The answers of the RESP front end and their bytes (RESP2, and RESP3 where a client asked for it with HELLO 3). It
// must never let a line break into an error or a simple string: that would put the client out of step.
import Cluster
import NIOCore

/// One answer.
enum RESPReply: Sendable {
    case ok
    case pong
    case null
    case bulk([UInt8])
    case integer(Int)
    case emptyArray
    /// Encoded already.
    case encoded(ByteBuffer)
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
        case .encoded(let buffer): buffer.readableBytes
        case .error(let text), .fatal(let text): text.utf8.count + 3
        default: 8
        }
    }

    /// The code says what the client may do: `TRYAGAIN` was certainly not applied, `UNKNOWN` may have been, `ERR` is
    /// the request's own fault.
    init(failure: RequestError) {
        switch failure {
        case .notLeader, .unavailable: self = .error("TRYAGAIN \(failure)")
        case .unknown: self = .fatal("UNKNOWN \(failure)")
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
        case .emptyArray: buffer.writeStaticString("*0\r\n")
        case .encoded(let bytes): buffer.writeImmutableBuffer(bytes)
        case .error(let text), .fatal(let text):
            buffer.writeInteger(UInt8(ascii: "-"))
            for byte in text.utf8 { buffer.writeInteger(byte < 0x20 ? UInt8(ascii: " ") : byte) }
            buffer.writeStaticString("\r\n")
        }
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
