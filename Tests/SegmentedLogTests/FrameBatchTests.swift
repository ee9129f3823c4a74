// Frames in memory: encoding, validation of foreign bytes, slices and joins.
import SegmentedLog
import Testing

@Suite struct FrameBatchTests {
    @Test func validatedBytesAreTheSameBatch() throws {
        var model = LogModel()
        let batch = model.grow(frames: 20, seed: 3)
        let copy = try FrameBatch(validating: batch.bytes)
        #expect(copy.headers == batch.headers)
        #expect(copy.positions == batch.positions)
        for (position, frame) in model.frames.enumerated() {
            #expect(Array(copy.payload(position)) == frame.payload)
            #expect(copy.withPayload(position) { Array($0) } == frame.payload)
        }
        #expect(try FrameBatch(validating: []).isEmpty)
    }

    @Test func theHeaderIsLaidOutAsDocumented() {
        var batch = FrameBatch()
        batch.append(
            kind: .records, index: 0x0102, term: 0x03, baseOffset: 0x0405, recordCount: 2, payload: [0xAA, 0xBB, 0xCC])
        let bytes = batch.bytes
        #expect(bytes.count == 51)
        #expect(Array(bytes[0..<8]) == [0x53, 0x4C, 0x47, 0x31, 1, 0, 48, 0])
        #expect(Array(bytes[8..<16]) == [3, 0, 0, 0, 2, 0, 0, 0])
        #expect(Array(bytes[16..<40]) == [2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 5, 4, 0, 0, 0, 0, 0, 0])
        #expect(Array(bytes[48...]) == [0xAA, 0xBB, 0xCC])
        // The example of Docs/Formats/segmented-log.md.
        var noop = FrameBatch()
        noop.append(kind: .noop, index: 1, term: 1, baseOffset: 0, recordCount: 0, payload: [])
        #expect(Array(noop.bytes[40...]) == [0, 0, 0, 0, 0x7D, 0x9E, 0x5B, 0x97])
    }

    @Test func everyFlippedByteIsRefused() throws {
        var model = LogModel()
        var bytes = model.grow(frames: 6, seed: 11).bytes
        for position in bytes.indices {
            bytes[position] ^= 0x04
            #expect(throws: SegmentedLogError.self, "byte \(position)") { try FrameBatch(validating: bytes) }
            bytes[position] ^= 0x04
        }
        for count in 1..<bytes.count {
            let cut = Array(bytes[..<count])
            if let batch = try? FrameBatch(validating: cut) {
                #expect(batch.headers == Array(model.frames.map(\.header).prefix(batch.headers.count)))
            }
        }
    }

    @Test func framesThatDoNotFollowAreRefused() throws {
        var first = FrameBatch()
        first.append(kind: .noop, index: 5, term: 2, baseOffset: 3, recordCount: 0, payload: [])
        for (index, term, offset) in [(5, 2, 3), (7, 2, 3), (6, 1, 3), (6, 2, 4)] as [(UInt64, UInt64, UInt64)] {
            var second = FrameBatch()
            second.append(kind: .noop, index: index, term: term, baseOffset: offset, recordCount: 0, payload: [])
            #expect(throws: SegmentedLogError.self) { try FrameBatch(validating: first.bytes + second.bytes) }
        }
    }

    @Test func slicesAndJoinsAreInverse() {
        var model = LogModel()
        let batch = model.grow(frames: 9, seed: 5)
        for first in 1...9 as ClosedRange<UInt64> {
            for last in first...9 {
                let slice = batch.slice(from: first, through: last)
                #expect(slice.firstIndex == first && slice.lastIndex == last)
                for position in slice.headers.indices {
                    #expect(slice.payload(position) == ArraySlice(batch.payload(position + Int(first) - 1)))
                }
                var joined = batch.slice(from: 1, through: first - 1)
                joined.append(contentsOf: slice)
                joined.append(contentsOf: batch.slice(from: last + 1, through: .max))
                #expect(joined.bytes == batch.bytes && joined.headers == batch.headers)
                #expect(joined.positions == batch.positions)
            }
        }
        #expect(batch.slice(from: 10, through: 20).isEmpty)
        #expect(batch.slice(from: 4, through: 3).isEmpty)
    }

    /// A frame whose checksums hold but whose numbers no log reaches: adding to them would overflow.
    @Test(arguments: [(UInt64.max, 0), (1, UInt64.max), (1 << 62, 0), (1, 1 << 62)] as [(UInt64, UInt64)])
    func numbersThatNoLogReachesAreRefused(index: UInt64, baseOffset: UInt64) {
        var batch = FrameBatch()
        batch.append(
            kind: .records, index: index, term: 1, baseOffset: baseOffset, recordCount: 3, payload: [1, 2, 3])
        let bytes = batch.bytes
        let error = #expect(throws: SegmentedLogError.self) { try FrameBatch(validating: bytes) }
        #expect(error?.code == .invalidFrames)
    }
}
