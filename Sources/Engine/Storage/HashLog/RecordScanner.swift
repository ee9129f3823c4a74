// Walks the records of a data file front to back through a window of memory, checking each. It reports and decides
// nothing; where the file ends is its caller's knowledge.
internal import FileIO

struct RecordScanner {
    private let data: DataFile
    private let end: UInt64
    /// Where the next record begins.
    private(set) var position: UInt64
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0

    static let windowBytes = 1 << 20

    init(_ data: DataFile, from position: UInt64 = UInt64(DataFile.headerBytes), end: UInt64) {
        self.data = data
        self.position = position
        self.end = end
    }

    /// Gives the next record to `body`: where it is, its header and all of its bytes.
    /// - Returns: false at the end.
    mutating func next(
        _ body: (_ offset: UInt32, _ header: RecordHeader, _ record: UnsafeRawBufferPointer) throws(StorageError) ->
            Void
    ) throws(StorageError) -> Bool {
        guard position < end else { return false }
        let offset = UInt32(position)
        guard try fill(Record.headerBytes) else { throw data.corruption(at: offset, "the file ends inside a record") }
        let start = Int(position - windowStart)
        let header = window.withUnsafeBytes { RecordHeader(UnsafeRawBufferPointer(rebasing: $0[start...])) }
        guard let header else { throw data.corruption(at: offset, "a record's lengths are impossible") }
        let bytes = header.recordBytes
        guard try fill(bytes) else { throw data.corruption(at: offset, "the file ends inside a record") }
        let first = Int(position - windowStart)
        try window.withRawBytes { (window) throws(StorageError) in
            let record = UnsafeRawBufferPointer(rebasing: window[first..<first + bytes])
            try data.check(record, at: offset)
            try body(offset, header, record)
        }
        position += UInt64(bytes)
        return true
    }

    /// Moves on by a byte, for who looks for the next good record behind damage; false at the end.
    mutating func advanceOneByte() -> Bool {
        position += 1
        return position < end
    }

    /// Makes the window hold `count` bytes from `position` on; false when the end comes first.
    private mutating func fill(_ count: Int) throws(StorageError) -> Bool {
        guard end - position >= UInt64(count) else { return false }
        if position >= windowStart, position + UInt64(count) <= windowStart + UInt64(window.count) { return true }
        let wanted = Int(min(end - position, UInt64(max(count, Self.windowBytes))))
        let (file, from) = (data.file, position)
        window = try disk { () throws(FileIOError) in try file.read(count: wanted, at: from) }
        windowStart = position
        return window.count >= count
    }
}

extension RecordHeader {
    /// The key of this header's record.
    func key(_ record: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: record[Record.headerBytes..<Record.headerBytes + Int(keyBytes)])
    }

    /// The value of this header's record; nil for a delete.
    func value(_ record: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        isTombstone ? nil : UnsafeRawBufferPointer(rebasing: record[(Record.headerBytes + Int(keyBytes))...])
    }
}
