// The core's own source of randomness: SplitMix64 (Steele, Lea, Flood 2014). It lives inside the core as a value, so
// that equal seeds and equal inputs give equal runs on every machine. It must never be seeded from the system.

/// A 64-bit generator with 8 bytes of state.
package struct SplitMix64: Hashable, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number of `range`, which must not be empty. The bias of multiply-shift is below 2^-50 for timer ranges.
    package mutating func next(in range: Range<Int>) -> Int {
        precondition(!range.isEmpty, "a random number needs a range that is not empty")
        return range.lowerBound + Int(next().multipliedFullWidth(by: UInt64(range.count)).high)
    }
}
