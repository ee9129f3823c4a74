// A JSON document as it was written: names in their order, numbers as their digits, strings as UTF-8 bytes. Decoders
// that fit a document to a type skip what the type does not know; request bodies and the configuration file need to see
// it, since a field that nobody reads is a mistake that nobody hears of. See JSONReader for how it is read.

/// One value of a JSON document (RFC 8259).
enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// The digits as written.
    case number(String)
    /// UTF-8.
    case string([UInt8])
    case array([JSONValue])
    case object([Field])

    struct Field: Hashable, Sendable {
        var name: String
        var value: JSONValue
    }

    /// What it is, for a person who expected something else: "the number 5", "a list".
    var kind: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let digits): "the number \(Self.shortened(digits))"
        case .string(let bytes): "the text \"\(Self.shortened(String(decoding: bytes, as: UTF8.self)))\""
        case .array: "a list"
        case .object: "an object"
        }
    }

    private static func shortened(_ text: String) -> String {
        text.unicodeScalars.count > 40 ? String(String.UnicodeScalarView(text.unicodeScalars.prefix(40))) + "…" : text
    }
}
