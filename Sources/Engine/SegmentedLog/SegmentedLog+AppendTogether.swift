// Appends to several logs at once: their writes go to the disk backend as one batch, so that one submission and one
// wait do for all partitions of a turn. Each log keeps its own rules, checks and failures; no order between logs is
// promised.
public import FileIO

/// One log's share of ``SegmentedLog/append(together:)``.
public struct LogAppend: Sendable {
    public let log: SegmentedLog
    public let batch: FrameBatch
    public let durability: WriteDurability
    /// Nil when the batch was appended as ``SegmentedLog/append(_:durability:)`` promises.
    public var failure: SegmentedLogError?

    public init(_ log: SegmentedLog, _ batch: FrameBatch, durability: WriteDurability) {
        self.log = log
        self.batch = batch
        self.durability = durability
    }
}

extension SegmentedLog {
    /// Writes of one batch: each holds its log's lock and some stack meanwhile.
    private static let togetherMax = 64

    /// Appends to logs that are all different; returns when each is done or has failed. A log's failure is its own.
    /// - Complexity: one submission for up to 64 logs, on a backend that takes batches.
    public static func append(together appends: inout [LogAppend]) {
        for start in stride(from: 0, to: appends.count, by: togetherMax) {
            var operations: [FileOperation] = []
            stage(&appends, start..<min(start + togetherMax, appends.count), &operations)
        }
    }

    /// Begins the first append, has the others staged and all of them written while this log is held and its bytes stay
    /// where they are, and finishes. Locks of several logs are only ever taken by the one thread that writes them.
    private static func stage(
        _ appends: inout [LogAppend], _ range: Range<Int>, _ operations: inout [FileOperation]
    ) {
        guard let first = range.first else {
            if !operations.isEmpty { appends[0].log.fileSystem.perform(&operations) }
            return
        }
        let (log, batch, durability) = (appends[first].log, appends[first].batch, appends[first].durability)
        let rest = range.dropFirst()
        var isStaged = false
        do throws(SegmentedLogError) {
            if !batch.isEmpty {
                try log.mutate { writer throws(SegmentedLogError) in
                    let append = try log.begin(&writer, batch, durability)
                    isStaged = true
                    let position = operations.count
                    append.mark.withUnsafeBytes { mark in
                        batch.bytes.withUnsafeBytes { bytes in
                            let buffers = mark.isEmpty ? [bytes] : [mark, bytes]
                            operations.append(
                                FileOperation(
                                    append.start.file,
                                    .write(buffers, at: append.start.position, durability: append.ownDurability)))
                            stage(&appends, rest, &operations)
                        }
                    }
                    _ = try onDisk { () throws(FileIOError) in try operations[position].get() }
                    try log.finish(&writer, append, batch)
                }
            }
        } catch {
            appends[first].failure = error
        }
        if !isStaged { stage(&appends, rest, &operations) }
    }
}
