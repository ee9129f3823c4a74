// The log on a disk that loses power: whatever was durable is there afterwards, the rest is a prefix of what was
// written, and nothing else is ever there. Each seed is one history of appends, syncs, truncations, trims and crashes.
import FileIO
import SegmentedLog
import SimulatedIO
import Testing

/// What is known about a log whose machine may lose power at any change of its disk.
private struct CrashHistory {
    let seed: UInt64
    let files: SimulatedFileSystem
    var options = SegmentedLog.Options()
    var random: SeededRandom
    var model = LogModel()
    /// Entries up to here must survive.
    var durableIndex: UInt64 = 0
    /// While a trim may be half done, the log may begin anywhere from here to the model's first index.
    var firstIndexMin: UInt64 = 1
    var log: SegmentedLog
    var crashes = 0
    var framesLost = 0

    init(seed: UInt64) throws {
        self.seed = seed
        files = SimulatedFileSystem(seed: seed)
        random = SeededRandom(seed: seed ^ 0xABCD)
        options.segmentBytes = 700 + random.next() % 2000
        options.indexIntervalBytes = 100 + Int(random.next() % 400)
        options.preallocateBytes = random.next() % 2 == 0 ? 0 : 1024
        options.naming = random.next() % 2 == 0 ? .offset : .index
        log = try SegmentedLog.open(directory: "data/log", fileSystem: files, options: options)
        // The folder above belongs to the node, which makes its name durable.
        try files.syncDirectory(".")
    }

    mutating func below(_ bound: UInt64) -> UInt64 { random.next() % bound }

    /// One random operation; false when the power went during it.
    mutating func step() throws -> Bool {
        do {
            switch below(20) {
            case 0..<12:
                let isDurable = below(2) == 0
                let batch = model.grow(frames: Int(below(4)) + 1, seed: random.next())
                try log.append(batch, durability: isDurable ? .power : .process)
                if isDurable { durableIndex = model.lastIndex }
            case 12..<16:
                try log.sync()
                durableIndex = model.lastIndex
            case 16..<18:
                guard model.lastIndex >= model.firstIndex else { return true }
                let from = max(model.lastIndex - min(below(8), model.lastIndex - 1), model.firstIndex)
                durableIndex = min(durableIndex, from - 1)
                try log.truncate(from: from)
                model.truncate(from: from)
                durableIndex = model.lastIndex
            default:
                try log.trim(before: model.lastIndex - min(below(10), model.lastIndex))
                model.trim(before: log.firstIndex)
                firstIndexMin = model.firstIndex
            }
            #expect(log.durableIndex >= durableIndex, "seed \(seed)")
            return true
        } catch {
            #expect(error.code == .disk || error.code == .poisoned, "seed \(seed): \(error)")
            return false
        }
    }

    /// Opens the log after a crash and compares it with what may be there.
    mutating func recover() throws {
        crashes += 1
        files.crash()
        log = try SegmentedLog.open(directory: "data/log", fileSystem: files, options: options)
        let found = try LogModel.readAll(log, maxBytes: 1000)
        #expect(log.lastIndex >= durableIndex, "seed \(seed): a durable entry is gone")
        #expect(log.durableIndex == log.lastIndex, "seed \(seed)")
        #expect(
            log.firstIndex >= firstIndexMin && log.firstIndex <= max(durableIndex, model.firstIndex), "seed \(seed)")
        #expect(log.lastIndex <= model.lastIndex, "seed \(seed)")
        framesLost += Int(model.lastIndex - log.lastIndex)
        let skipped = Int(log.firstIndex) - Int(model.firstIndex)
        #expect(skipped >= 0, "seed \(seed)")
        let expected = Array(model.frames.dropFirst(max(skipped, 0)).prefix(found.count))
        #expect(found == expected, "seed \(seed): something was read that was never written there")
        #expect(found.count == Int(log.lastIndex + 1 - log.firstIndex), "seed \(seed)")
        #expect(log.recovery.termStarts.last?.term == found.last?.header.term, "seed \(seed)")
        let findings = try SegmentedLog.verify(directory: "data/log", fileSystem: files, options: options)
        #expect(findings.allSatisfy { $0.severity == .rebuildable }, "seed \(seed): \(findings)")
        model.keep(found, from: log.firstIndex, nextOffset: log.nextOffset)
        firstIndexMin = model.firstIndex
        durableIndex = model.lastIndex
    }
}

extension LogModel {
    /// Goes on from what was found.
    mutating func keep(_ found: [Frame], from first: UInt64, nextOffset: UInt64) {
        let term = self.term
        self = LogModel(frames: found, firstIndex: first, term: term + 1)
        advance(to: nextOffset)
    }
}

@Suite struct CrashRecoveryTests {
    static func run(seeds: Range<UInt64>) throws -> (crashes: Int, framesLost: Int) {
        var crashes = 0
        var framesLost = 0
        for seed in seeds {
            var history = try CrashHistory(seed: seed)
            for _ in 0..<4 {
                // Half of the crashes come between operations, half in the middle of one.
                let cuts = history.below(2) == 0
                if cuts { history.files.cutPower(afterChanges: Int(history.below(60)) + 1) }
                for _ in 0..<(history.below(30) + 1) {
                    if try !history.step() { break }
                }
                // A trim that the power interrupted has moved the log's beginning in memory only.
                try history.recover()
            }
            crashes += history.crashes
            framesLost += history.framesLost
        }
        return (crashes, framesLost)
    }

    /// 500 histories in four parts, which run beside each other.
    @Test(arguments: [0, 125, 250, 375])
    func durableEntriesSurviveAndTheRestIsAPrefix(first: UInt64) throws {
        let result = try Self.run(seeds: first..<first + 125)
        #expect(result.crashes == 500)
        // Otherwise the crashes tested nothing.
        #expect(result.framesLost > 100)
    }

    @Test func aResetIsDoneOrCanBeRepeated() throws {
        for seed in 0..<60 as Range<UInt64> {
            for cut in 1..<16 {
                let files = SimulatedFileSystem(seed: seed)
                var options = SegmentedLogTests.smallOptions(.index)
                options.preallocateBytes = seed % 2 == 0 ? 0 : 2048
                let log = try SegmentedLog.open(directory: "log", fileSystem: files, options: options)
                try files.syncDirectory(".")
                var model = LogModel()
                for step in 0..<12 { try log.append(model.grow(frames: 1, seed: UInt64(step)), durability: .power) }
                files.cutPower(afterChanges: cut)
                let isDone = (try? log.reset(to: 100, term: 50, nextOffset: 900)) != nil
                files.crash()
                let again = try SegmentedLog.open(directory: "log", fileSystem: files, options: options)
                if again.lastIndex == 100 {
                    #expect(again.firstIndex == 101 && again.lastTerm == 50 && again.nextOffset == 900)
                } else {
                    #expect(!isDone, "seed \(seed), cut \(cut)")
                    let found = try LogModel.readAll(again, maxBytes: 1000)
                    #expect(found == Array(model.frames.prefix(found.count)), "seed \(seed), cut \(cut)")
                    try again.reset(to: 100, term: 50, nextOffset: 900)
                    #expect(again.lastIndex == 100 && again.nextOffset == 900)
                }
            }
        }
    }

    @Test func hardStateIsOldOrNew() throws {
        for seed in 0..<100 as Range<UInt64> {
            for cut in 1..<14 {
                let files = SimulatedFileSystem(seed: seed)
                files.cutPower(afterChanges: cut)
                var promised: UInt64 = 0
                var attempted: UInt64 = 0
                do {
                    let file = try HardStateFile.open(path: "state", fileSystem: files)
                    for term in 1...8 as ClosedRange<UInt64> {
                        attempted = term
                        try file.store(term: term, vote: term + 100)
                        promised = term
                    }
                } catch {
                    #expect(error.code == .disk)
                }
                files.crash()
                let loaded = try HardStateFile.open(path: "state", fileSystem: files).load()
                let term = loaded?.term ?? 0
                #expect(term >= promised && term <= attempted, "seed \(seed), cut \(cut)")
                #expect(loaded == nil || loaded?.vote == term + 100)
            }
        }
    }
}
