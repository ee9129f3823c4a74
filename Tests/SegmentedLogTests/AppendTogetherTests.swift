// Many logs appended to in one batch hold what as many single appends would leave, through segments, marks and
// restarts, and one log's failure stays its own.
import FileIO
import SegmentedLog
import SimulatedIO
import TestSupport
import Testing

@Suite struct AppendTogetherTests {
    /// More logs than one batch takes.
    private static let logs = 70

    private static func open(_ folder: String, _ files: any FileSystem) throws -> [SegmentedLog] {
        try (0..<logs).map { number in
            // Opening makes the log's own folder only.
            try files.createDirectory(folder)
            return try SegmentedLog.open(
                directory: "\(folder)/\(number)", fileSystem: files, options: SegmentedLogTests.smallOptions())
        }
    }

    @Test(arguments: [false, true]) func manyLogsHoldWhatWasAppended(isSimulated: Bool) throws {
        try withTemporaryFolder { folder, real in
            let files = isSimulated ? SimulatedFileSystem(seed: 3) : real
            let logs = try Self.open(folder, files)
            var models = [LogModel](repeating: LogModel(), count: Self.logs)
            for round in 0..<12 {
                var appends: [LogAppend] = []
                for number in logs.indices where (number + round) % 5 != 0 {
                    let batch = models[number].grow(
                        frames: (number + round) % 3 + 1, seed: UInt64(round * 100 + number))
                    // Some leave entries that the next durable append has to sync.
                    let durability: WriteDurability = (number + round) % 4 == 0 ? .process : .power
                    appends.append(LogAppend(logs[number], batch, durability: durability))
                }
                SegmentedLog.append(together: &appends)
                for append in appends {
                    #expect(append.failure == nil)
                    if append.durability == .power { #expect(append.log.durableIndex == append.log.lastIndex) }
                }
            }
            for (log, model) in zip(logs, models) where model.lastIndex % 7 == 0 { try model.check(log) }
            for log in logs { try log.sync() }
            for (log, model) in zip(try Self.open(folder, files), models) {
                #expect(try LogModel.readAll(log, maxBytes: .max) == model.frames)
                #expect(log.recovery.tornBytesCut == 0)
            }
        }
    }

    @Test func whatWasAcknowledgedOutlivesThePower() throws {
        let files = SimulatedFileSystem(seed: 5)
        let logs = try Self.open("data", files)
        var models = [LogModel](repeating: LogModel(), count: Self.logs)
        for round in 0..<5 {
            var appends = logs.indices.map { number in
                LogAppend(
                    logs[number], models[number].grow(frames: 2, seed: UInt64(round * 100 + number)), durability: .power
                )
            }
            SegmentedLog.append(together: &appends)
            #expect(appends.allSatisfy { $0.failure == nil })
        }
        files.crash()
        for (log, model) in zip(try Self.open("data", files), models) {
            #expect(try LogModel.readAll(log, maxBytes: .max) == model.frames)
        }
    }

    @Test func aFailureIsOneLogsOwn() throws {
        let files = SimulatedFileSystem(seed: 7)
        let logs = try Array(Self.open("data", files)[..<6])
        var models = [LogModel](repeating: LogModel(), count: 6)
        var appends = logs.indices.map { number in
            LogAppend(logs[number], models[number].grow(frames: 1, seed: UInt64(number)), durability: .power)
        }
        // Log 0 has a write that fails, log 3 a batch that does not continue it; log 5 has nothing to do.
        files.failNext(operation: .write, reason: .device, pathSuffix: "0/00000000000000000000.log")
        appends[3] = LogAppend(logs[3], models[3].grow(frames: 1, seed: 9), durability: .power)
        appends[5] = LogAppend(logs[5], FrameBatch(), durability: .power)
        SegmentedLog.append(together: &appends)
        #expect(appends.map { $0.failure?.code } == [.disk, nil, nil, .notContiguous, nil, nil])
        #expect(logs.map(\.lastIndex) == [0, 1, 1, 0, 1, 0])
        // The disk's failure is final, a refused batch is not.
        #expect(throws: SegmentedLogError.self) { try logs[0].sync() }
        var model = LogModel()
        try logs[3].append(model.grow(frames: 1, seed: 1), durability: .power)
        #expect(logs[3].durableIndex == 1)
    }
}
