// Seeded inputs for the storage tests: the same seed gives the same history, and every test prints its seed on failure.
@testable import Storage

struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }
}

extension SplitMix {
    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }

    /// Keys that stress comparisons: shared prefixes, zero bytes, empty, prefixes of each other.
    mutating func key() -> [UInt8] {
        let stems: [[UInt8]] = [
            [], [0], [0, 0], Array("user:".utf8), Array("a long shared prefix of a key/".utf8), [255],
        ]
        let tail = (0..<below(5)).map { _ in UInt8([0, 1, 97, 98, 255][below(5)]) }
        return stems[below(stems.count)] + tail
    }

    mutating func value() -> [UInt8] {
        let count = [0, 1, 8, 100, 700][below(5)]
        let byte = UInt8(truncatingIfNeeded: next())
        return (0..<count).map { UInt8(truncatingIfNeeded: $0) &+ byte }
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// `number` with leading zeros to 16 bytes.
func paddedKey(_ number: Int) -> [UInt8] {
    let digits = Array(String(number).utf8)
    return [UInt8](repeating: 48, count: 16 - digits.count) + digits
}

/// An ordered map that is right because it is simple.
struct Model {
    var values: [[UInt8]: [UInt8]] = [:]

    mutating func apply(_ batch: WriteBatch) {
        for operation in batch {
            switch operation.kind {
            case .put: values[operation.key] = operation.value
            case .delete: values[operation.key] = nil
            case .deleteRange:
                values = values.filter { key, _ in
                    key.lexicographicallyPrecedes(operation.key) || !key.lexicographicallyPrecedes(operation.value)
                }
            }
        }
    }

    func scan(from: [UInt8], to: [UInt8]?, limit: Int) -> [KeyValue] {
        let keys = values.keys.filter { key in
            !key.lexicographicallyPrecedes(from) && (to.map { key.lexicographicallyPrecedes($0) } ?? true)
        }
        return keys.sorted { $0.lexicographicallyPrecedes($1) }.prefix(limit).map { ($0, values[$0] ?? []) }
    }
}

func same(_ one: [KeyValue], _ other: [KeyValue]) -> Bool {
    one.count == other.count && zip(one, other).allSatisfy { $0.key == $1.key && $0.value == $1.value }
}
