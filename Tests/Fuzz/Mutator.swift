// Damages bytes in the ways that find mistakes in parsers: flipped bits, extreme integers of every width, cuts, and
// pieces of other inputs. All choices come from a seed.

struct Mutator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }

    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(max(1, limit))) }

    mutating func chance(_ one: Int, in all: Int) -> Bool { below(all) < one }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    /// Damages a few places of `bytes` inside `range`.
    mutating func damage(_ bytes: inout [UInt8], in range: Range<Int>? = nil) {
        let range = range ?? bytes.indices
        guard !range.isEmpty else { return }
        for _ in 0...below(3) { damageOnce(&bytes, in: range) }
    }

    /// As ``damage(_:in:)``, and changes the length half of the time.
    mutating func reshape(_ bytes: inout [UInt8], donor: [UInt8]) {
        if chance(1, in: 2) { damage(&bytes) }
        guard chance(1, in: 2) else { return }
        let start = below(bytes.count + 1)
        let count = below(chance(1, in: 2) ? 9 : bytes.count - start + 1)
        let end = min(start + count, bytes.count)
        switch below(5) {
        case 0: bytes.removeLast(bytes.count - start)
        case 1: bytes.removeSubrange(start..<end)
        case 2: bytes.insert(contentsOf: Array(bytes[start..<end]), at: start)
        case 3:
            guard !donor.isEmpty else { return }
            let from = below(donor.count)
            bytes.insert(contentsOf: Array(donor[from..<min(from + count, donor.count)]), at: start)
        default:
            // A LEB128 number as large as can be, or larger.
            bytes.insert(contentsOf: [UInt8](repeating: 0xff, count: below(11)) + [UInt8(below(128))], at: start)
        }
    }

    private mutating func damageOnce(_ bytes: inout [UInt8], in range: Range<Int>) {
        // Often near the ends, where headers and trailers are.
        let near = min(range.count, 64)
        let position =
            switch below(4) {
            case 0: range.lowerBound + below(near)
            case 1: range.upperBound - 1 - below(near)
            default: range.lowerBound + below(range.count)
            }
        switch below(6) {
        case 0: bytes[position] ^= 1 << UInt8(below(8))
        case 1: bytes[position] = UInt8(truncatingIfNeeded: next())
        case 2, 3: put(extreme(bytes.count), width: 1 << below(4), &bytes, position, range)
        case 4:
            let delta = UInt8(truncatingIfNeeded: below(5)) &- 2
            bytes[position] &+= delta
        default:
            let from = range.lowerBound + below(range.count)
            let count = min(1 + below(16), range.upperBound - max(from, position))
            for offset in 0..<max(0, count) { bytes[position + offset] = bytes[from + offset] }
        }
    }

    private mutating func extreme(_ count: Int) -> UInt64 {
        let shift = UInt64(below(64))
        return switch below(6) {
        case 0: 0
        case 1: .max
        case 2: 1 << shift
        case 3: (1 << shift) - 1
        case 4: UInt64(max(0, count + below(17) - 8))
        default: .max - UInt64(below(9))
        }
    }

    private mutating func put(
        _ value: UInt64, width: Int, _ bytes: inout [UInt8], _ position: Int, _ range: Range<Int>
    ) {
        let isBig = chance(1, in: 4)
        for offset in 0..<width where position + offset < range.upperBound {
            let shift = UInt64(isBig ? width - 1 - offset : offset) * 8
            bytes[position + offset] = UInt8(truncatingIfNeeded: value >> shift)
        }
    }
}

extension [UInt8] {
    /// Stores an integer, little endian.
    mutating func put<Integer: FixedWidthInteger>(_ value: Integer, at position: Int) {
        Swift.withUnsafeBytes(of: value.littleEndian) { source in
            for (offset, byte) in source.enumerated() { self[position + offset] = byte }
        }
    }

    /// Reads an integer, little endian.
    func integer<Integer: FixedWidthInteger>(at position: Int, as type: Integer.Type) -> Integer {
        withUnsafeBytes { Integer(littleEndian: $0.loadUnaligned(fromByteOffset: position, as: type)) }
    }
}
