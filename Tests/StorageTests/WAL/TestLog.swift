// A write-ahead log whose records are known by their index, so that whatever an open log gives back can be judged
// without a copy of what was written. Everything that the damage and crash tests ask of the log's own API is here.
import SimulatedIO
import Testing

@testable import Storage

struct TestLog {
    static let folder = "wal"

    let system: SimulatedFileSystem
    var options = WALOptions()
    /// Record `index` has `sizes[index % sizes.count]` bytes.
    var sizes = [10, 0, 100, 3, 260, 41, 7, 8, 9, 150]

    init(_ system: SimulatedFileSystem, fileBytes: Int = WALFrame.blockBytes) {
        self.system = system
        options.fileBytes = fileBytes
        options.groupBytesMax = 4 << 10
    }

    static func path(_ number: UInt64) -> String { folder + "/" + WriteAheadLog.name(number) }

    func payload(_ index: UInt64) -> [UInt8] {
        let start = Int(index) % 251
        return Array(Self.pattern[start..<start + sizes[Int(index) % sizes.count]])
    }

    private static let pattern = (0..<1 << 16).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    /// Opens the log and checks that what it gives is exactly the records behind `flushed`, in order.
    /// - Returns: the log, and the index of its newest record (`flushed` when there is none).
    func open(flushed: UInt64 = 0, _ note: @autoclosure () -> String) throws -> (log: WriteAheadLog, last: UInt64) {
        var last = flushed
        var wrong: String?
        let log = try WriteAheadLog.recover(
            directory: Self.folder, fileSystem: system, options: options, flushed: flushed
        ) { index, bytes in
            if index != last + 1 { wrong = "record \(index) follows \(last)" }
            if [UInt8](bytes) != payload(index) { wrong = "record \(index) is not what was written" }
            last = index
        }
        if let wrong { Issue.record("\(note()): \(wrong)") }
        return (log, last)
    }

    @discardableResult
    func write(_ log: inout WriteAheadLog, _ durability: Durability) throws(StorageError) -> UInt64 {
        let payload = payload(log.nextIndex)
        try log.makeRoom(records: 1, bytes: payload.count + 8, durability: durability)
        let index = payload.withUnsafeBytes { log.append($0) }
        try log.commit(durability)
        return index
    }
}
