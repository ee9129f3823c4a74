// The parser under seeded random input: commands survive any cutting into pieces, and garbage is refused, never trapped
// on.
import NIOCore
import Testing

@testable import Server

@Suite struct RESPParserTests {
    /// SplitMix64, so that a failure's seed repeats it.
    private struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
    }

    private static func take(_ parser: inout RESPParser, into commands: inout [[[UInt8]]]) throws(RESPProtocolError) {
        while try parser.parse() {
            commands.append((0..<parser.argumentCount).map { parser.argument($0) })
            parser.consume()
        }
    }

    /// Feeds bytes in random pieces.
    private static func parse(
        _ bytes: [UInt8], _ random: inout Random
    ) throws(RESPProtocolError) -> [[[UInt8]]] {
        var parser = RESPParser()
        var commands: [[[UInt8]]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(Int.random(in: 1...40, using: &random))
            rest = rest.dropFirst(piece.count)
            parser.append(ByteBuffer(bytes: piece))
            if Bool.random(using: &random) { try take(&parser, into: &commands) }
        }
        try take(&parser, into: &commands)
        return commands
    }

    private static func quoted(_ argument: [UInt8], _ random: inout Random) -> [UInt8] {
        var text: [UInt8] = [UInt8(ascii: "\"")]
        for byte in argument {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
            case 0x20..<0x7f: text.append(byte)
            default:
                let digits = String(byte, radix: 16, uppercase: Bool.random(using: &random))
                text += Array("\\x\(digits.count == 1 ? "0" : "")\(digits)".utf8)
            }
        }
        return text + [UInt8(ascii: "\"")]
    }

    @Test(arguments: UInt64(1)...200)
    func commandsSurviveAnyCutting(seed: UInt64) throws {
        var random = Random(state: seed)
        var expected: [[[UInt8]]] = []
        var bytes: [UInt8] = []
        for _ in 0..<20 {
            let command = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                (0..<Int.random(in: 0...60, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            expected.append(command)
            if Bool.random(using: &random) {
                bytes += Array("*\(command.count)\r\n".utf8)
                for argument in command { bytes += Array("$\(argument.count)\r\n".utf8) + argument + [13, 10] }
            } else {
                for argument in command { bytes += Self.quoted(argument, &random) + [UInt8(ascii: " ")] }
                bytes += Bool.random(using: &random) ? [13, 10] : [10]
            }
        }
        let commands = try Self.parse(bytes, &random)
        #expect(commands == expected, "seed \(seed)")
    }

    @Test(arguments: UInt64(1)...300)
    func garbageIsRefusedOrWaitedOn(seed: UInt64) {
        var random = Random(state: seed)
        // Mostly the bytes that mean something, so that deep states are reached.
        let alphabet = Array("*$0123456789-\r\n\"'\\x GETset".utf8) + [0, 255]
        let bytes = (0..<400).map { _ in alphabet.randomElement(using: &random) ?? 0 }
        do {
            let commands = try Self.parse(Array("*2\r\n$1".utf8) + bytes, &random)
            #expect(commands.allSatisfy { !$0.isEmpty }, "seed \(seed)")
        } catch {
            #expect(!error.sentence.isEmpty, "seed \(seed)")
        }
    }

    /// Pieces end in the middle of a command, always, so that the buffer is never empty.
    @Test func aStreamThatNeverPausesNeedsNoMoreMemory() throws {
        let command =
            Array("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$100\r\n".utf8) + [UInt8](repeating: 7, count: 100) + [13, 10]
        var parser = RESPParser()
        var count = 0
        parser.append(ByteBuffer(bytes: command[..<50]))
        for _ in 0..<20_000 {
            parser.append(ByteBuffer(bytes: command[50...] + command[..<50]))
            while try parser.parse() {
                count += 1
                parser.consume()
            }
        }
        #expect(count == 20_000)
        #expect(parser.capacityBytes <= 4096, "\(parser.capacityBytes) bytes for one command of \(command.count)")
    }
}

@Suite struct RESPIntegerTests {
    @Test(
        arguments: [
            ("0", 0), ("7", 7), ("-1", -1), ("9223372036854775807", .max), ("-9223372036854775808", .min), ("10", 10),
            ("", nil), ("-", nil), ("+5", nil), ("05", nil), ("-0", nil), ("-05", nil), (" 5", nil), ("5 ", nil),
            ("9223372036854775808", nil), ("-9223372036854775809", nil), ("99999999999999999999999", nil), ("1e3", nil),
            ("0x10", nil), ("--1", nil), ("1.0", nil), ("\u{0661}", nil),
        ] as [(String, Int64?)])
    func hasOneSpelling(_ text: String, _ expected: Int64?) {
        #expect(RESPInteger.signed(Array(text.utf8)) == expected)
    }

    @Test func theLargestWithoutASign() {
        #expect(RESPInteger.unsigned(Array("18446744073709551615".utf8)) == .max)
        #expect(RESPInteger.unsigned(Array("18446744073709551616".utf8)) == nil)
        #expect(RESPInteger.unsigned(Array("-1".utf8)) == nil)
    }
}

@Suite struct RESPGlobTests {
    @Test(arguments: [
        ("save", true), ("SAVE", true), ("*", true), ("**", true), ("s*", true), ("*e", true), ("s*v*", true),
        ("s??e", true), ("s[a-c]ve", true), ("s[^b]ve", true), ("s[c-a]ve", true), ("\\save", true), ("[s]ave", true),
        ("sav", false), ("saved", false), ("", false), ("?", false), ("s[^a]ve", false), ("[", false), ("[s", false),
        ("s\\*", false), ("*x*", false), ("[]save", false),
    ])
    func aPattern(_ pattern: String, _ expected: Bool) {
        #expect(RESPGlob(Array(pattern.utf8)).matches("save".utf8) == expected)
    }

    @Test func manyStarsEndSoon() {
        let pattern = Array(String(repeating: "*a", count: RESPLimits.patternBytesMax / 2).utf8) + [UInt8(ascii: "b")]
        #expect(!RESPGlob(pattern).matches(String(repeating: "a", count: 500).utf8))
    }
}
