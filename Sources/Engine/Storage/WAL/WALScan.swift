// Reads one log back: its records up to the first frame that is not good, and the verdict on that one. A frame that a
// later frame promised to be durable is corruption; anything else is the torn end of writes that nobody was told about.
// It must never take the one for the other, and never give a record that is not whole.

struct WALScan {
    /// Nil when the log was never begun.
    private(set) var preamble: WALPreamble?
    /// Where the last whole record or mark ends.
    private(set) var end = 0
    private(set) var lastIndex: UInt64?
    private(set) var records: UInt64 = 0
    private(set) var frames: UInt64 = 0
    /// Greatest promise seen.
    private(set) var syncedOffset: UInt64 = 0

    /// Walks the log in `bytes`, giving each record's index and payload to `body` in order.
    /// - Parameters:
    ///   - end: where the log ends according to its successor, when there is one.
    ///   - isEndSynced: everything before that was durable; otherwise the log may be torn like the newest one.
    /// - Throws: ``StorageError/corruption(path:position:detail:)``, after the records in front of the damage were
    ///   given.
    init(
        _ bytes: [UInt8], number: UInt64, path: String, end limit: UInt64? = nil, isEndSynced: Bool = true,
        _ body: (_ index: UInt64, _ payload: UnsafeRawBufferPointer) throws(StorageError) -> Void
    ) throws(StorageError) {
        if let limit, isEndSynced, limit > UInt64(bytes.count) {
            throw .corruption(
                path: path, position: UInt64(bytes.count), detail: "the log ends before the \(limit) bytes it had")
        }
        try bytes.withRawBytes { (log) throws(StorageError) in
            let log = limit.map { UnsafeRawBufferPointer(rebasing: log.prefix(Int($0))) } ?? log
            let bad = try walk(log, number, path, body)
            if let limit, isEndSynced, end != Int(limit) {
                throw .corruption(
                    path: path, position: UInt64(bad), detail: "a broken frame in a log that was durable to \(limit)")
            }
            if limit == nil || !isEndSynced { try judge(log, brokenAt: bad, number, path) }
        }
    }

    /// - Returns: where the walk stopped.
    private mutating func walk(
        _ log: UnsafeRawBufferPointer, _ number: UInt64, _ path: String,
        _ body: (_ index: UInt64, _ payload: UnsafeRawBufferPointer) throws(StorageError) -> Void
    ) throws(StorageError) -> Int {
        var position = 0
        var pieces: [UInt8]?
        while true {
            position = WALFrame.start(from: position)
            guard position < log.count, let frame = WALFrame(log, at: position, number: number) else {
                return min(position, log.count)
            }
            let payload = UnsafeRawBufferPointer(rebasing: log[frame.payload])
            let misplaced = StorageError.corruption(
                path: path, position: UInt64(position), detail: "a \(frame.kind) frame is out of place")
            guard (frame.kind == .preamble) == (position == 0) else { throw misplaced }
            syncedOffset = max(syncedOffset, frame.syncedOffset)
            frames += 1
            switch frame.kind {
            case .preamble: preamble = try WALPreamble(payload, number: number, path: path)
            case .mark: guard pieces == nil else { throw misplaced }
            case .full:
                guard pieces == nil else { throw misplaced }
                try deliver(payload, path, position, body)
            case .first:
                guard pieces == nil else { throw misplaced }
                pieces = [UInt8](payload)
            case .middle:
                guard pieces != nil else { throw misplaced }
                pieces?.append(contentsOf: payload)
            case .last:
                guard var whole = pieces else { throw misplaced }
                pieces = nil
                whole.append(contentsOf: payload)
                try whole.withRawBytes { (whole) throws(StorageError) in try deliver(whole, path, position, body) }
            }
            position = frame.end
            if pieces == nil { end = position }
        }
    }

    private mutating func deliver(
        _ record: UnsafeRawBufferPointer, _ path: String, _ position: Int,
        _ body: (_ index: UInt64, _ payload: UnsafeRawBufferPointer) throws(StorageError) -> Void
    ) throws(StorageError) {
        var reader = ByteReader(record)
        let due = lastIndex.map { $0 + 1 } ?? preamble?.firstIndex
        guard let index = reader.read(UInt64.self), index == due else {
            throw .corruption(path: path, position: UInt64(position), detail: "a record's index does not follow")
        }
        lastIndex = index
        records += 1
        try body(index, UnsafeRawBufferPointer(rebasing: record[8...]))
    }

    /// Searches what follows for a promise that covers the broken frame.
    private mutating func judge(
        _ log: UnsafeRawBufferPointer, brokenAt bad: Int, _ number: UInt64, _ path: String
    ) throws(StorageError) {
        var position = bad / 8 * 8
        while position + WALFrame.headerBytes <= log.count {
            if let frame = WALFrame(log, at: position, number: number) {
                syncedOffset = max(syncedOffset, frame.syncedOffset)
            }
            position += 8
        }
        guard syncedOffset <= UInt64(bad) else {
            throw .corruption(
                path: path, position: UInt64(bad),
                detail: "a broken frame where the log was durable up to byte \(syncedOffset)")
        }
    }
}
