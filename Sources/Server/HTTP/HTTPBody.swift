// The JSON body of a request: read strictly, with every field asked for by name and type. A field that the route does
// not know is refused, never skipped: `ttl` in a body that knows none would be a key that never expires.
import Foundation
import HTTPTypes
import Hummingbird
import KeyValue
import Logging
import NIOCore

/// What a request comes with besides itself: the way to its connection.
struct HTTPRequestContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}

/// The fields of a JSON object that a client sent.
struct HTTPBody {
    /// A value may come escaped or as base64, which makes it longer.
    static let bytesMax = KeyValueLimits.valueBytesMax / 2 * 3 + KeyValueLimits.keyBytesMax

    private let fields: [JSONValue.Field]
    /// How a right body looks.
    private let example: String

    /// Reads the body of a request.
    /// - Parameter known: the fields that the route knows.
    init(
        of request: Request, _ context: HTTPRequestContext, known: [String], example: String
    ) async throws {
        let body = try await Self.bytes(of: request, context)
        let read: Result<JSONValue, JSONFailure> = body.withUnsafeReadableBytes { bytes in
            do throws(JSONFailure) {
                return .success(try JSONReader.read(bytes))
            } catch {
                return .failure(error)
            }
        }
        switch read {
        case .failure(let failure): throw HTTPProblem.badRequest("the body is not JSON (\(failure)); send \(example)")
        case .success(.object(let fields)): self.fields = fields
        case .success(let other):
            throw HTTPProblem.badRequest("the body must be a JSON object, not \(other.kind); send \(example)")
        }
        self.example = example
        if let unknown = fields.first(where: { !known.contains($0.name) }) {
            throw HTTPProblem.badRequest(
                "the field '\(unknown.name)' is not known here; \(NearestName.hint(unknown.name, in: known))")
        }
    }

    private static func bytes(of request: Request, _ context: HTTPRequestContext) async throws -> ByteBuffer {
        let tooLong = HTTPProblem(
            status: .contentTooLarge,
            sentence: "the body is longer than \(bytesMax) bytes; a value has at most \(KeyValueLimits.valueBytesMax)")
        // A length that no number holds is too long as well; what is no number was refused with the head.
        if let length = request.headers[.contentLength], Int(length) ?? .max > bytesMax { throw tooLong }
        if request.headers[.expect] != nil {
            context.channel.triggerUserOutboundEvent(HTTPBodyWanted(), promise: nil)
        }
        do {
            return try await request.body.collect(upTo: bytesMax)
        } catch is NIOTooManyBytesError {
            throw tooLong
        }
    }

    private func value(_ name: String) -> JSONValue? {
        // Many clients write null for what they leave out.
        fields.first { $0.name == name && $0.value != .null }?.value
    }

    private func wrong(_ name: String, _ value: JSONValue, expected: String) -> HTTPProblem {
        .badRequest("the field '\(name)' must be \(expected), not \(value.kind); send \(example)")
    }

    /// A text; nil when there is none.
    func text(_ name: String) throws(HTTPProblem) -> [UInt8]? {
        guard let value = value(name) else { return nil }
        guard case .string(let bytes) = value else { throw wrong(name, value, expected: "a string") }
        return bytes
    }

    /// A text that is a word.
    func word(_ name: String) throws(HTTPProblem) -> String? {
        try text(name).map { String(decoding: $0, as: UTF8.self) }
    }

    func required(_ name: String) throws(HTTPProblem) -> String {
        guard let word = try word(name) else { throw missing(name) }
        return word
    }

    func missing(_ name: String) -> HTTPProblem {
        .badRequest("the field '\(name)' is missing; send \(example)")
    }

    /// A whole number; nil when there is none.
    func number<Number: FixedWidthInteger>(_ name: String, _ type: Number.Type = UInt64.self) throws(HTTPProblem)
        -> Number?
    {
        guard let value = value(name) else { return nil }
        guard case .number(let digits) = value, let number = Number(digits) else {
            throw wrong(name, value, expected: "a number from \(Number.min) to \(Number.max)")
        }
        return number
    }

    /// Bytes as `name`, when they are UTF-8, or base64 as `name` with `Base64` appended.
    func bytes(_ name: String) throws(HTTPProblem) -> [UInt8]? {
        let encoded = name + "Base64"
        switch (try text(name), try text(encoded)) {
        case (_?, _?): throw .badRequest("give '\(name)' or '\(encoded)', not both")
        case (let text?, nil): return text
        case (nil, let text?):
            guard let bytes = Base64.decoded(text) else { throw .badRequest("'\(encoded)' is not base64") }
            return bytes
        case (nil, nil): return nil
        }
    }

    func session() throws(HTTPProblem) -> WriteSequence? {
        try SessionFields(
            client: number("client"), sequence: number("sequence"), acknowledged: number("acknowledged")
        ).checked()
    }
}

/// Base64 as clients write it: either alphabet of RFC 4648, with or without padding.
enum Base64 {
    static func decoded(_ text: [UInt8]) -> [UInt8]? {
        var text = text.map { byte in
            switch byte {
            case UInt8(ascii: "-"): UInt8(ascii: "+")
            case UInt8(ascii: "_"): UInt8(ascii: "/")
            default: byte
            }
        }
        if text.last != UInt8(ascii: "=") {
            text += Array(repeating: UInt8(ascii: "="), count: (4 - text.count % 4) % 4)
        }
        return Data(base64Encoded: Data(text)).map(Array.init)
    }
}
