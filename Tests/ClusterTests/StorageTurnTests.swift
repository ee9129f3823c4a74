// A log writer's turn: works of one group keep their order, those that can share a write do, and a batch never holds
// two of one group.
import FileIO
import Raft
import SegmentedLog
import SimulatedIO
import Testing

@testable import Cluster

@Suite struct StorageTurnTests {
    private let files = SimulatedFileSystem(seed: 1)

    private func logs(_ count: Int) throws -> [(SegmentedLog, HardStateFile)] {
        try (0..<count).map { number in
            try files.createDirectory("data/\(number)")
            let log = try SegmentedLog.open(
                directory: "data/\(number)/log", fileSystem: files, options: SegmentedLog.Options())
            return (log, try HardStateFile.open(path: "data/\(number)/state", fileSystem: files))
        }
    }

    private func work(
        _ group: Int, _ sequence: UInt64, _ log: (SegmentedLog, HardStateFile), entries: ClosedRange<UInt64>,
        cut: UInt64? = nil, term: UInt64 = 1
    ) -> StorageWork {
        var batch = FrameBatch()
        for index in entries {
            batch.append(
                kind: .records, index: index, term: term, baseOffset: index - 1, recordCount: 1, payload: [1, 2, 3])
        }
        return StorageWork(
            group: GroupID(rawValue: UInt64(group)), sequence: sequence, log: log.0, hardStateFile: log.1,
            hardState: sequence == 1 ? HardState(term: 1, vote: nil) : nil, truncateFrom: cut, frames: [batch],
            durability: .power)
    }

    @Test func aTurnBatchesGroupsAndKeepsTheirOrder() throws {
        let logs = try logs(3)
        let turn = StorageTurn([
            work(0, 1, logs[0], entries: 1...2), work(1, 1, logs[1], entries: 1...1),
            work(0, 2, logs[0], entries: 3...3),
            // Cutting what was just written can't share its write.
            work(0, 3, logs[0], entries: 2...2, cut: 2, term: 2), work(2, 1, logs[2], entries: 1...4),
            work(1, 2, logs[1], entries: 2...2),
        ])
        #expect(turn.waves.map { $0.map { $0.map(\.sequence) } } == [[[1, 2], [1, 2], [1]], [[3]]])
        for wave in turn.waves {
            let receipts = StorageTurn.performTogether(wave)
            #expect(receipts.map(\.sequence) == wave.map { $0[$0.count - 1].sequence })
            #expect(receipts.allSatisfy { $0.failure == nil })
        }
        #expect(logs.map { $0.0.lastIndex } == [2, 2, 4])
        #expect(logs.map { $0.0.durableIndex } == [2, 2, 4])
        #expect(logs[0].0.lastTerm == 2)
        #expect(logs[1].1.load()?.term == 1)
    }

    @Test func aGroupsFailureIsItsOwn() throws {
        let logs = try logs(2)
        let turn = StorageTurn([work(0, 1, logs[0], entries: 5...5), work(1, 1, logs[1], entries: 1...1)])
        let receipts = StorageTurn.performTogether(turn.waves[0])
        #expect(receipts[0].failure != nil && receipts[1].failure == nil)
        #expect(logs[1].0.durableIndex == 1)
    }
}
