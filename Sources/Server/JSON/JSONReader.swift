// Reads JSON strictly: RFC 8259 and nothing else, no name twice in one object, no broken UTF-8, no lone surrogate.
// Bytes come from a socket or a file of anybody's: whatever they are, it ends with a value or with one sentence that
// names the place, never with a trap, and needs memory and stack in proportion to the input.

/// Why bytes are not a JSON document.
struct JSONFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong there.
    var what: String
    var line: Int
    /// Bytes into the line, from 1.
    var column: Int

    var description: String { "line \(line), column \(column): \(what)" }
}

/// A reader over one document.
struct JSONReader {
    /// Objects and lists within each other.
    static let depthMax = 32

    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private var depth = 0

    /// Reads a whole document; what follows it may be blank only.
    /// - Complexity: O(n) in the bytes, O(m²) in the names of one object, which are few.
    static func read(_ bytes: UnsafeRawBufferPointer) throws(JSONFailure) -> JSONValue {
        var reader = JSONReader(bytes: bytes)
        reader.skipBlanks()
        let value = try reader.value()
        reader.skipBlanks()
        guard reader.position == bytes.count else { throw reader.failure("something follows the end of the document") }
        return value
    }

    static func read(_ bytes: [UInt8]) throws(JSONFailure) -> JSONValue {
        let result: Result<JSONValue, JSONFailure> = bytes.withUnsafeBytes { buffer in
            do throws(JSONFailure) {
                return .success(try read(buffer))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private init(bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    private func failure(_ what: String, at place: Int? = nil) -> JSONFailure {
        let before = bytes[..<min(place ?? position, bytes.count)]
        let start = before.lastIndex(of: 0x0a).map { $0 + 1 } ?? 0
        return JSONFailure(what: what, line: 1 + before.count { $0 == 0x0a }, column: 1 + before.count - start)
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipBlanks() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func value() throws(JSONFailure) -> JSONValue {
        switch next {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try list())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case let byte? where byte == UInt8(ascii: "-") || isDigit(byte): return .number(try number())
        case nil: throw failure(position == 0 ? "it is empty" : "it ends in the middle")
        default: throw failure("a value is expected here")
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONFailure) -> JSONValue {
        let text = UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        guard bytes[position...].starts(with: text) else { throw failure("a value is expected here") }
        position += text.count
        return value
    }

    private mutating func enter() throws(JSONFailure) {
        depth += 1
        guard depth <= Self.depthMax else {
            throw failure("more than \(Self.depthMax) objects and lists within each other")
        }
        position += 1
        skipBlanks()
    }

    private mutating func object() throws(JSONFailure) -> [JSONValue.Field] {
        try enter()
        defer { depth -= 1 }
        var fields: [JSONValue.Field] = []
        if take(UInt8(ascii: "}")) { return fields }
        while true {
            let start = position
            guard next == UInt8(ascii: "\"") else { throw failure("a name in quotes is expected here") }
            let name = String(decoding: try string(), as: UTF8.self)
            guard !fields.contains(where: { $0.name == name }) else {
                throw failure("the name \"\(name)\" stands twice", at: start)
            }
            guard fields.count < Self.fieldsMax else {
                throw failure("an object has more than \(Self.fieldsMax) names", at: start)
            }
            skipBlanks()
            guard take(UInt8(ascii: ":")) else { throw failure("':' is expected here") }
            skipBlanks()
            fields.append(JSONValue.Field(name: name, value: try value()))
            skipBlanks()
            if take(UInt8(ascii: "}")) { return fields }
            guard take(UInt8(ascii: ",")) else { throw failure("',' or '}' is expected here") }
            skipBlanks()
        }
    }

    /// Names of one object; more than any document of ours has.
    static let fieldsMax = 256

    private mutating func list() throws(JSONFailure) -> [JSONValue] {
        try enter()
        defer { depth -= 1 }
        var values: [JSONValue] = []
        if take(UInt8(ascii: "]")) { return values }
        while true {
            values.append(try value())
            skipBlanks()
            if take(UInt8(ascii: "]")) { return values }
            guard take(UInt8(ascii: ",")) else { throw failure("',' or ']' is expected here") }
            skipBlanks()
        }
    }

    private mutating func number() throws(JSONFailure) -> String {
        let start = position
        _ = take(UInt8(ascii: "-"))
        if take(UInt8(ascii: "0")) {
            if let byte = next, isDigit(byte) { throw failure("a number has no leading zero") }
        } else {
            try digits()
        }
        if take(UInt8(ascii: ".")) { try digits() }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func digits() throws(JSONFailure) {
        guard let byte = next, isDigit(byte) else { throw failure("a digit is expected here") }
        while let byte = next, isDigit(byte) { position += 1 }
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    /// Runs without escapes are copied whole.
    private mutating func string() throws(JSONFailure) -> [UInt8] {
        let start = position
        position += 1
        var text: [UInt8] = []
        while true {
            let run = position
            while let byte = next, byte != 0x22, byte != 0x5c, byte >= 0x20 { position += 1 }
            text.append(contentsOf: bytes[run..<position])
            switch next {
            case 0x22:
                position += 1
                guard String(validating: text, as: UTF8.self) != nil else {
                    throw failure("a text is not UTF-8", at: start)
                }
                return text
            case 0x5c: try escape(into: &text)
            case nil: throw failure("a text never ends", at: start)
            default: throw failure("a control character must be escaped")
            }
        }
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONFailure) {
        position += 1
        guard let byte = next else { throw failure("it ends in the middle") }
        position += 1
        switch byte {
        case 0x22, 0x5c, UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if (0xd800..<0xdc00).contains(code), next == 0x5c, position + 1 < bytes.count,
                bytes[position + 1] == UInt8(ascii: "u")
            {
                position += 2
                let low = try hexadecimal()
                guard (0xdc00..<0xe000).contains(low) else { throw failure("half of a surrogate pair stands alone") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw failure("half of a surrogate pair stands alone") }
            text.append(contentsOf: Array(String(Character(scalar)).utf8))
        default:
            position -= 1
            throw failure("there is no such escape")
        }
    }

    /// Four digits.
    private mutating func hexadecimal() throws(JSONFailure) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw failure("four hexadecimal digits are expected here")
            }
            position += 1
            code = code << 4 | UInt32(digit)
        }
        return code
    }
}
