// The same histories under many option sets, both engines, all disks and all allocators: every answer is that of a
// sorted map. STRATA_HISTORY_SEED sets the first seed, STRATA_HISTORIES how many follow it.
import FileIO
import Glibc
import Memory
import PosixIO
import SimulatedIO
import Testing
import UringIO

@testable import Storage

@Suite struct DifferentialTests {
    private enum Backend: String, CaseIterable { case simulated, posix, uring }

    /// One way to set a store up.
    private struct Setup: CustomStringConvertible {
        var options = StandaloneOptions()
        var backend: Backend
        var description: String { "\(backend), \(options)" }
    }

    private static func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

    #if DEBUG
    private static let steps = 70
    private static let count: UInt64 = 1
    #else
    private static let steps = 300
    private static let count: UInt64 = 12
    #endif

    private static let seeds: [UInt64] = {
        let first = number("STRATA_HISTORY_SEED") ?? 1
        return Array(first..<first + (number("STRATA_HISTORIES") ?? count))
    }()

    /// Every value of every option beside random values of the others, so that each pair meets sooner or later.
    private static func setups(_ engine: StorageEngineKind, _ random: inout SplitMix) -> [Setup] {
        let backends = Backend.allCases.filter { $0 != .uring || hasUring }
        let count = engine == .lsm ? 12 : 6
        return (0..<count).map { number in
            // Each list is walked from a random place on.
            func pick<Value>(_ values: [Value], _ random: inout SplitMix) -> Value {
                values[(number + random.below(2) * random.below(values.count)) % values.count]
            }
            var setup = Setup(backend: pick(backends, &random))
            setup.options.engine = engine
            setup.options.wal.fileBytes = pick([32 << 10, 1 << 20, 70_000], &random)
            setup.options.wal.groupBytesMax = pick([1, 4 << 10, 1 << 20], &random)
            setup.options.store.lsm = tree(number, &random)
            setup.options.store.lsm.allocator = pick([.arena, .jemalloc, .system], &random)
            setup.options.store.hashLog.allocator = pick([.system, .arena, .jemalloc], &random)
            setup.options.store.hashLog.fileBytes = pick([1 << 10, 16 << 10, 1 << 20], &random)
            setup.options.store.hashLog.writeBufferBytes = pick([1, 500, 64 << 10], &random)
            setup.options.store.hashLog.mergeDeadShare = pick([0.1, 0.5, 0.9], &random)
            setup.options.store.hashLog.mergeStepBytes = pick([100, 4 << 10], &random)
            return setup
        }
    }

    private static func tree(_ number: Int, _ random: inout SplitMix) -> LSMOptions {
        func pick<Value>(_ values: [Value], _ random: inout SplitMix) -> Value {
            values[(number + random.below(2) * random.below(values.count)) % values.count]
        }
        var options = LSMOptions()
        options.memtableBytes = pick([16 << 10, 64 << 10, 1 << 20], &random)
        // No cache at all, one that is always full, one that holds everything.
        options.memoryBudgetBytes = pick([0, 3 * options.memtableBytes + (8 << 10), 64 << 20], &random)
        options.memtableHashIndex = pick([false, true], &random)
        options.sealedMemtablesMax = pick([1, 2, 4], &random)
        options.blockBytes = pick([64, 256, 4096, 64 << 10], &random)
        options.indexBytes = pick([128 << 10, 0, 600], &random)
        options.bloomBitsPerKey = pick([10, 1, 32], &random)
        options.compression = pick(BlockCompression.allCases, &random)
        options.levelBaseBytes = UInt64(pick([8 << 10, 64 << 10, 256 << 20], &random))
        options.tableBytes = UInt64(pick([4 << 10, 1 << 10, 64 << 20], &random))
        (options.level0Trigger, options.level0Slow, options.level0Stop) = pick(
            [(2, 6, 12), (1, 2, 3), (4, 20, 36)], &random)
        options.seed = random.next()
        return options
    }

    private static let hasUring: Bool = {
        if case .available = UringProbe.run() { return true }
        return false
    }()

    @Test(arguments: StorageEngineKind.allCases, seeds) func everySetupGivesTheSameAnswers(
        engine: StorageEngineKind, seed: UInt64
    ) throws {
        // The hash log's histories without order are given to both.
        for isOrdered in engine == .lsm ? [true, false] : [false] {
            let history = try History(seed: seed, count: Self.steps, isOrdered: isOrdered)
            let expected = Model.transcript(of: history)
            var random = SplitMix(seed ^ 0x5E7)
            var hashes: Set<UInt64> = []
            // Without order there is less to differ in.
            let setups = Self.setups(engine, &random)
            for setup in isOrdered || engine == .hashlog ? setups : Array(setups.prefix(3)) {
                let note = "STRATA_HISTORY_SEED=\(seed), ordered \(isOrdered), \(setup)"
                hashes.insert(try Self.play(history, expected, setup, note))
            }
            #expect(hashes.count == 1, "STRATA_HISTORY_SEED=\(seed): other contents")
        }
    }

    private static func play(
        _ history: History, _ expected: [HistoryAnswer], _ setup: Setup, _ note: String
    ) throws -> UInt64 {
        let folder = TemporaryFolder.make()
        let system: any FileSystem =
            switch setup.backend {
            case .simulated: SimulatedFileSystem(seed: history.seed)
            case .posix: PosixFileSystem()
            case .uring: UringFileSystem()
            }
        defer { try? PosixFileSystem().removeTree(folder) }
        let subject = try HistorySubject(folder + "/store", system, setup.options)
        defer { subject.close() }
        for (number, step) in history.steps.enumerated() {
            let answer = try subject.answer(step)
            try #require(answer == expected[number], "step \(number) \(step): \(note)")
        }
        return try subject.stateHash
    }
}
