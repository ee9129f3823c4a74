// What the killed writer puts into the store, known from a seed, a thread and a number alone, so that the process that
// kills it can judge what is left.

/// Write `number` of a thread (from 1) puts its value under one of a ring of keys and its number under the thread's
/// key.
public enum KilledContent {
    /// Keys of each thread that hold values.
    public static let ring = 256

    /// An acknowledgement: thread, durability, number.
    public static let acknowledgementBytes = 16

    public static func newestKey(_ thread: Int) -> [UInt8] { Array("newest/\(thread)".utf8) }

    /// Of thread 3: from `keyPrefix(3)` to `keyPrefix(4)`.
    public static func keyPrefix(_ thread: Int) -> [UInt8] { Array("ring/\(thread)/".utf8) }

    public static func key(_ thread: Int, slot: Int) -> [UInt8] {
        keyPrefix(thread) + [UInt8(truncatingIfNeeded: slot >> 8), UInt8(truncatingIfNeeded: slot)]
    }

    public static func value(seed: UInt64, _ thread: Int, _ number: Int) -> [UInt8] {
        var word = seed &+ UInt64(thread) << 32 &+ UInt64(number)
        func mix() -> UInt64 {
            word &+= 0x9e37_79b9_7f4a_7c15
            let half = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
            return half ^ half >> 27
        }
        // Most are small; some fill blocks of the log, a few need several.
        let draw = mix() % 200
        let count = draw == 0 ? 70_000 : draw < 10 ? 3000 + Int(mix() % 3000) : Int(mix() % 300)
        let first = mix()
        return (0..<count).map { UInt8(truncatingIfNeeded: first &+ UInt64($0 &* 7 &+ $0 >> 8)) }
    }

    /// What the ring of a thread holds after its writes up to `newest`.
    public static func expected(seed: UInt64, _ thread: Int, newest: Int) -> [(key: [UInt8], value: [UInt8])] {
        let numbers = max(1, newest - ring + 1)..<newest + 1
        return numbers.sorted { $0 % ring < $1 % ring }.map {
            (key(thread, slot: $0 % ring), value(seed: seed, thread, $0))
        }
    }
}

/// How a writer is started: its command line, both ways.
public struct KilledWriterOptions: Sendable, CustomStringConvertible {
    public var folder: String
    /// `lsm` or `hashlog`.
    public var engine: String
    public var seed: UInt64
    public var threads: Int
    public var walFileBytes: Int
    public var memtableBytes: Int
    /// Every so many writes of a thread are asked for with durability `power`; 0: none is.
    public var powerEvery: Int
    /// As well for `none`.
    public var noneEvery: Int

    public init(
        folder: String, engine: String, seed: UInt64, threads: Int, walFileBytes: Int, memtableBytes: Int,
        powerEvery: Int, noneEvery: Int
    ) {
        self.folder = folder
        self.engine = engine
        self.seed = seed
        self.threads = threads
        self.walFileBytes = walFileBytes
        self.memtableBytes = memtableBytes
        self.powerEvery = powerEvery
        self.noneEvery = noneEvery
    }

    public var arguments: [String] {
        [folder, engine]
            + [Int(bitPattern: UInt(seed)), threads, walFileBytes, memtableBytes, powerEvery, noneEvery].map(
                String.init)
    }

    public init?(arguments: [String]) {
        let numbers = arguments.dropFirst(2).compactMap { Int($0) }
        guard arguments.count == 8, numbers.count == 6 else { return nil }
        self.init(
            folder: arguments[0], engine: arguments[1], seed: UInt64(UInt(bitPattern: numbers[0])), threads: numbers[1],
            walFileBytes: numbers[2], memtableBytes: numbers[3], powerEvery: numbers[4], noneEvery: numbers[5])
    }

    public var description: String { arguments.dropFirst().joined(separator: " ") }
}
