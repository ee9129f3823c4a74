// Replies cut out of a byte stream at every possible place, and what is no reply.
import Testing

@testable import LoadGen

@Suite struct RESPParserTests {
    private func parse(_ text: String) -> (kind: RESPReply.Kind, payload: String, count: Int)? {
        Array(text.utf8).withUnsafeBytes { bytes in
            guard case .reply(let reply) = RESPParser.parse(bytes) else { return nil }
            return (reply.kind, String(decoding: reply.payload, as: UTF8.self), reply.byteCount)
        }
    }

    private func isMalformed(_ text: String) -> Bool {
        Array(text.utf8).withUnsafeBytes { bytes in
            if case .malformed = RESPParser.parse(bytes) { true } else { false }
        }
    }

    @Test(arguments: [
        ("+OK\r\n", RESPReply.Kind.status, "OK"),
        ("-ERR no\r\n", .error, "ERR no"),
        ("-TRYAGAIN no leader\r\n", .tryAgain, "TRYAGAIN no leader"),
        ("-UNKNOWN lost\r\n", .unknown, "UNKNOWN lost"),
        (":42\r\n", .integer, "42"),
        ("$5\r\nhe\r\no\r\n", .bulk, "he\r\no"),
        ("$0\r\n\r\n", .bulk, ""),
        ("$-1\r\n", .null, ""),
    ])
    func repliesAreFoundOnlyWhenComplete(text: String, kind: RESPReply.Kind, payload: String) {
        let bytes = Array(text.utf8)
        for cut in 0..<bytes.count {
            let part = String(decoding: bytes[..<cut], as: UTF8.self)
            #expect(parse(part) == nil, "cut at \(cut)")
            #expect(!isMalformed(part), "cut at \(cut)")
        }
        let whole = parse(text + "+NEXT\r\n")
        #expect(whole?.kind == kind)
        #expect(whole?.payload == payload)
        #expect(whole?.count == bytes.count)
    }

    @Test(arguments: ["?what\r\n", "$x\r\n\r\n", "$-2\r\n", "$3\r\nabcXY", "$99999999999999999999\r\n", "HTTP/1.1\r\n"])
    func nonsenseIsMalformed(text: String) {
        #expect(isMalformed(text))
    }

    @Test func aLineWithoutEndIsMalformed() {
        #expect(isMalformed("+" + String(repeating: "x", count: RESPParser.lineBytesMax + 10)))
    }

    @Test func requestsAreArraysOfBulkStrings() {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 128, alignment: 1)
        defer { buffer.deallocate() }
        let count = RESPRequest.set(
            into: buffer, keyCount: 2, valueCount: 12, key: { $0.copyBytes(from: Array("ab".utf8)) },
            value: { $0.copyBytes(from: Array("hello, world".utf8)) })
        #expect(
            String(decoding: buffer[..<count], as: UTF8.self)
                == "*3\r\n$3\r\nSET\r\n$2\r\nab\r\n$12\r\nhello, world\r\n")
        let second = RESPRequest.get(into: buffer, keyCount: 2) { $0.copyBytes(from: Array("ab".utf8)) }
        #expect(String(decoding: buffer[..<second], as: UTF8.self) == "*2\r\n$3\r\nGET\r\n$2\r\nab\r\n")
    }
}
