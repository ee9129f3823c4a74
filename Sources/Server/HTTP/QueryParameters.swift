// The parameters of a URL's query, as bytes: a key may hold any byte, and `%FF` is one. Percent escapes are decoded,
// and `+` is a blank, as every form and every Go server has it (the WHATWG URL standard's urlencoded parser). A broken
// escape is an error, never a guess.

/// The decoded query of one request.
struct QueryParameters {
    /// In the order of the query; few, so that a scan is faster than a dictionary.
    private var pairs: [(name: [UInt8], value: [UInt8])] = []

    /// Reads what stands behind the `?`; nil when an escape is broken.
    /// - Complexity: O(n) in the bytes of the query.
    init?(_ query: String?) {
        guard let query else { return }
        for pair in query.utf8.split(separator: UInt8(ascii: "&")) {
            let equals = pair.firstIndex(of: UInt8(ascii: "="))
            guard let name = Self.decoded(pair[..<(equals ?? pair.endIndex)]),
                let value = Self.decoded(equals.map { pair[pair.index(after: $0)...] } ?? pair[pair.endIndex...])
            else { return nil }
            pairs.append((name, value))
        }
    }

    /// The first parameter of that name.
    func first(_ name: String) -> [UInt8]? {
        pairs.first { $0.name.elementsEqual(name.utf8) }?.value
    }

    /// The names, in the order of the query.
    var names: [String] { pairs.map { String(decoding: $0.name, as: UTF8.self) } }

    private static func decoded(_ text: Substring.UTF8View) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var iterator = text.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "+"): bytes.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard let high = iterator.next().flatMap(nibble), let low = iterator.next().flatMap(nibble) else {
                    return nil
                }
                bytes.append(high << 4 | low)
            default: bytes.append(byte)
            }
        }
        return bytes
    }

    private static func nibble(_ byte: UInt8) -> UInt8? {
        Character(UnicodeScalar(byte)).hexDigitValue.map { UInt8($0) }
    }
}
