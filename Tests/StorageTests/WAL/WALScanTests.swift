// The write-ahead log's bytes: every size around the borders comes back, and a reader never takes for a record what an
// earlier log or a misplaced write left in the file. Cuts and flips are in WALDamageTests.
import SimulatedIO
import Testing

@testable import Storage

@Suite struct WALScanTests {
    /// A log of records; after each in `syncedAfter` a mark promises what is in front of it.
    private struct Sample {
        var bytes: [UInt8] = []
        var records: [[UInt8]] = []
        /// Where each record ends, with its padding.
        var ends: [Int] = []
        var synced = 0

        init(_ sizes: [Int], number: UInt64 = 7, firstIndex: UInt64 = 1, syncedAfter: Set<Int> = []) {
            let preamble = WALPreamble(
                number: number, firstIndex: firstIndex, previousNumber: number - 1, previousEnd: 40)
            preamble.encode().withUnsafeBytes {
                bytes.appendFrame(.preamble, $0, log: number, at: 0, syncedOffset: 0)
            }
            for (position, size) in sizes.enumerated() {
                let record = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ position) }
                records.append(record)
                var framed: [UInt8] = []
                framed.append(littleEndian: firstIndex + UInt64(position))
                framed += record
                var frames: [UInt8] = []
                framed.withUnsafeBytes {
                    frames.appendRecord($0, log: number, origin: bytes.count, syncedOffset: UInt64(synced))
                }
                bytes += frames
                ends.append(bytes.count)
                if syncedAfter.contains(position) {
                    synced = bytes.count
                    bytes.padToFrame(at: bytes.count)
                    bytes.appendFrame(
                        .mark, UnsafeRawBufferPointer(start: nil, count: 0), log: number, at: bytes.count,
                        syncedOffset: UInt64(synced))
                }
            }
        }
    }

    private func read(_ bytes: [UInt8], number: UInt64 = 7, end: UInt64? = nil) throws -> (WALScan, [[UInt8]]) {
        var found: [[UInt8]] = []
        let scan = try WALScan(bytes, number: number, path: "wal", end: end) { _, payload in
            found.append([UInt8](payload))
        }
        return (scan, found)
    }

    @Test func everySizeAroundTheBorders() throws {
        let room = WALFrame.blockBytes
        for size in [0, 1, 7, 8, 9, 4096] + Array(room - 120..<room - 56) + [room, 3 * room + 1] {
            let sample = Sample([size, 5, size, 0])
            let (scan, found) = try read(sample.bytes)
            #expect(found == sample.records, "size \(size)")
            #expect(scan.end == sample.bytes.count && scan.lastIndex == 4, "size \(size)")
            if size % 8 != 0 { continue }
            // The same in front of what a pre-written file holds.
            #expect(try read(sample.bytes + [UInt8](repeating: 0, count: 100)).1 == sample.records, "size \(size)")
        }
    }

    @Test func anUsedFileShowsNothingOld() throws {
        let old = Sample(Array(repeating: 50, count: 40), number: 3, syncedAfter: [5, 20, 39])
        let new = Sample([20, 30, 50], number: 7, syncedAfter: [1])
        let bytes = new.bytes + old.bytes[new.bytes.count...]
        let (scan, found) = try read(bytes)
        #expect(found == new.records)
        #expect(scan.end == new.bytes.count)
        #expect(try read(old.bytes).0.preamble == nil, "a log that was never begun")
    }

    @Test func framesInTheWrongPlaceShow() throws {
        let sample = Sample([40, 40, 40, 40], syncedAfter: [3])
        var bytes = sample.bytes
        let length = sample.ends[1] - sample.ends[0]
        bytes.replaceSubrange(sample.ends[1]..<sample.ends[1] + length, with: bytes[sample.ends[0]..<sample.ends[1]])
        #expect(throws: StorageError.self) { try read(bytes) }
    }
}
