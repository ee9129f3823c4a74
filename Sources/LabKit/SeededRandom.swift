// The lab's random numbers: a seeded generator, so that a run can be repeated from the seed it prints. Not for secrets.

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): 64 bits of state, equidistributed, a few cycles a number.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) {
        state = seed
    }

    /// A generator for one worker of many: streams of different indexes don't overlap in practice.
    public init(seed: UInt64, stream: UInt64) {
        state = SeededRandom.mix(seed &+ SeededRandom.mix(stream &+ 0x9E37_79B9_7F4A_7C15))
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return SeededRandom.mix(state)
    }

    /// Uniform in `0..<bound` (Lemire's multiplication; the bias is below 2^-32 for the bounds used here).
    public mutating func below(_ bound: Int) -> Int {
        precondition(bound > 0, "a random number needs a range that is not empty")
        return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// The finalizer alone: a good hash of one integer.
    public static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
