// The durable works of many groups that a log writer found queued at the same time: which of them share a write, and
// how all groups' writes go to the disk as one batch. Works of one group stay in their order; groups have none among
// them.
import SegmentedLog

/// What one turn of a log writer does.
public struct StorageTurn {
    /// In order; no group is twice in a wave.
    public let waves: [[Run]]

    /// Works of one group that share one write.
    public typealias Run = [StorageWork]

    public init(_ works: [StorageWork]) {
        var runs: [Run] = []
        for work in works {
            if let position = runs.lastIndex(where: { $0[0].group == work.group }), runs[position][0].canAbsorb(work) {
                runs[position].append(work)
            } else {
                runs.append([work])
            }
        }
        var waves: [[Run]] = []
        for run in runs {
            // A group's second run must see the first one done.
            let wave = waves.lastIndex { $0.contains { $0[0].group == run[0].group } }.map { $0 + 1 } ?? 0
            if wave == waves.count { waves.append([]) }
            waves[wave].append(run)
        }
        self.waves = waves
    }

    /// Does one wave, all groups' entries in one batch. Blocks; call it on a thread that may.
    /// - Returns: the receipts in the order of the runs.
    public static func performTogether(_ wave: [Run]) -> [StorageReceipt] {
        var appends: [LogAppend] = []
        var receipts = wave.map {
            StorageReceipt(group: $0[0].group, sequence: $0[$0.count - 1].sequence, failure: nil)
        }
        var positions: [Int] = []
        for (position, run) in wave.enumerated() {
            do {
                let frames = try run[0].prepare(with: Array(run.dropFirst()))
                guard !frames.isEmpty else { continue }
                appends.append(LogAppend(run[0].log, frames, durability: run[0].durability))
                positions.append(position)
            } catch {
                receipts[position] = StorageReceipt(
                    group: receipts[position].group, sequence: receipts[position].sequence, failed: error)
            }
        }
        SegmentedLog.append(together: &appends)
        for (append, position) in zip(appends, positions) {
            do throws(SegmentedLogError) {
                if let failure = append.failure { throw failure }
                try wave[position][0].recordNewSegment()
            } catch {
                receipts[position] = StorageReceipt(
                    group: receipts[position].group, sequence: receipts[position].sequence, failed: error)
            }
        }
        return receipts
    }
}

extension StorageTurn.Run {
    /// Begins with a received snapshot that takes the place of log and state.
    public var isInstall: Bool { self[0].install != nil }
}
