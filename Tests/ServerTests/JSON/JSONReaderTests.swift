// The strict JSON reader: what RFC 8259 allows and nothing else; and whatever the bytes, an answer.
import Foundation
import Testing

@testable import Server

@Suite struct JSONReaderTests {
    private func read(_ text: String) throws(JSONFailure) -> JSONValue { try JSONReader.read(Array(text.utf8)) }

    @Test func valuesAreAsWritten() throws {
        #expect(try read("null") == .null && (try read(" true ")) == .bool(true))
        for digits in ["0", "-0", "1.5e-9", "18446744073709551616", "1E+2"] {
            #expect(try read(digits) == .number(digits))
        }
        #expect(try read(#""a\u00e9\ud834\udd1e\n\/é𝄞""#) == .string(Array("aé𝄞\n/é𝄞".utf8)))
        #expect(
            try read(#"{"b":[1,{}],"a":[]}"#)
                == .object([
                    .init(name: "b", value: .array([.number("1"), .object([])])), .init(name: "a", value: .array([])),
                ]))
    }

    @Test(arguments: [
        "", " ", "{", "[", "\"", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "[1,]", "[,]", "nul",
        "nulll", "True",
        "01", "-", "1.", ".5", "1e", "+1", "0x1", "NaN", "Infinity", "'a'", "\"\u{1}\"", "\"\\x\"", "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud834\"", "\"\\udd1e\"", "\"\\ud834\\u0041\"", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{1:2}",
        "{} {}", "// c",
    ])
    func whatIsNotJSONIsRefused(text: String) {
        #expect(throws: JSONFailure.self) { try read(text) }
    }

    @Test func textsAreUTF8() {
        for bytes in [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]] as [[UInt8]] {
            #expect(throws: JSONFailure.self) { try JSONReader.read([0x22] + bytes + [0x22]) }
        }
    }

    @Test func depthIsBounded() throws {
        let deep = JSONReader.depthMax
        _ = try read(String(repeating: "[", count: deep) + String(repeating: "]", count: deep))
        #expect(throws: JSONFailure.self) { try read(String(repeating: "[", count: 1_000_000)) }
    }

    @Test func thePlaceIsNamed() {
        let failure = #expect(throws: JSONFailure.self) { try read("{\n  \"a\": 1,\n  \"b\": x\n}") }
        #expect(failure?.line == 3 && failure?.column == 8)
    }

    /// Changed, cut and joined documents end with a value or a failure; where Foundation takes one, so must this
    /// reader.
    @Test(arguments: 0..<8)
    func anyBytesHaveAnAnswer(seed: Int) throws {
        var state = UInt64(seed) &* 0x9e37_79b9_7f4a_7c15 &+ 1
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let start = Array(#"{"strata":{"a":[1,-2.5e3,"x\u00e9\ud834\udd1e\"\\"],"b":{"c":null,"d":true,"":[]}}}"#.utf8)
        let alphabet = Array(#"{}[]",:\u0123dDeE-+.truefalsn"#.utf8) + [0, 0x1f, 0x7f, 0x80, 0xc3, 0xed, 0xff]
        var taken = 0
        for _ in 0..<4000 {
            var bytes = start
            for _ in 0...random(4) {
                guard !bytes.isEmpty else { break }
                let place = random(bytes.count)
                switch random(4) {
                case 0: bytes[place] = alphabet[random(alphabet.count)]
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(alphabet[random(alphabet.count)], at: place)
                default: bytes.removeSubrange(place..<min(bytes.count, place + random(9)))
                }
            }
            if (try? JSONReader.read(bytes)) != nil {
                taken += 1
                #expect(
                    (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil,
                    "seed \(seed): \(String(decoding: bytes, as: UTF8.self))")
            }
        }
        #expect(taken > 0)
    }
}
