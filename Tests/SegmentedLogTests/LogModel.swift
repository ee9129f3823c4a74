// What a log should hold, kept as plain arrays, and the means to compare the two.
import FileIO
import Glibc
import SegmentedLog
import TestSupport
import Testing

/// SplitMix64: the same numbers for the same seed everywhere.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Runs a test in a fresh folder of the real file system.
func withTemporaryFolder(_ body: (String, any FileSystem) throws -> Void) throws {
    var template = Array((P_tmpdir + "/strata-log-XXXXXX").utf8CString)
    try #require(mkdtemp(&template) != nil)
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let files = RealDisk.fileSystem
    defer { try? files.removeTree(folder) }
    try body(folder + "/log", files)
}

/// The entries that a log should hold.
struct LogModel {
    struct Frame: Equatable {
        var header: FrameHeader
        var payload: [UInt8]
    }

    var frames: [Frame] = []
    var firstIndex: UInt64 = 1
    var term: UInt64 = 1
    private(set) var nextOffset: UInt64 = 0

    init(frames: [Frame] = [], firstIndex: UInt64 = 1, term: UInt64 = 1) {
        self.frames = frames
        self.firstIndex = firstIndex
        self.term = term
    }

    /// States the next offset of a log that may be empty.
    mutating func advance(to offset: UInt64) { nextOffset = offset }

    var lastIndex: UInt64 { firstIndex + UInt64(frames.count) - 1 }

    var termStarts: [(index: UInt64, term: UInt64)] {
        var starts: [(index: UInt64, term: UInt64)] = []
        for frame in frames where frame.header.term != starts.last?.term {
            starts.append((frame.header.index, frame.header.term))
        }
        return starts
    }

    /// Adds frames of random kinds and sizes, and returns them encoded.
    mutating func grow(frames count: Int, seed: UInt64) -> FrameBatch {
        var random = SeededRandom(seed: seed)
        var batch = FrameBatch()
        for _ in 0..<count {
            let isNewTerm = random.next() % 8 == 0
            if isNewTerm { term += 1 }
            let kind: FrameKind = isNewTerm ? .noop : .records
            let payload =
                isNewTerm ? [] : (0..<random.next() % 120).map { _ in UInt8.random(in: 0...255, using: &random) }
            let header = FrameHeader(
                kind: kind, payloadCount: UInt32(payload.count),
                recordCount: isNewTerm ? 0 : UInt32(random.next() % 5 + 1), index: lastIndex + 1, term: term,
                baseOffset: nextOffset)
            batch.append(
                kind: kind, index: header.index, term: header.term, baseOffset: header.baseOffset,
                recordCount: header.recordCount, payload: payload)
            frames.append(Frame(header: header, payload: payload))
            nextOffset = header.endOffset
        }
        return batch
    }

    mutating func truncate(from index: UInt64) {
        while lastIndex >= index, let last = frames.popLast() { nextOffset = last.header.baseOffset }
        term += 1
    }

    mutating func trim(before index: UInt64) {
        frames.removeFirst(Int(index - firstIndex))
        firstIndex = index
    }

    /// Reads everything back in several ways and compares.
    func check(_ log: SegmentedLog, sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(log.firstIndex == firstIndex, sourceLocation: sourceLocation)
        #expect(log.lastIndex == lastIndex, sourceLocation: sourceLocation)
        #expect(log.nextOffset == nextOffset, sourceLocation: sourceLocation)
        for maxBytes in [0, 150, 1 << 20, .max] {
            #expect(try Self.readAll(log, maxBytes: maxBytes) == frames, sourceLocation: sourceLocation)
        }
        for frame in frames {
            #expect(log.term(at: frame.header.index) == frame.header.term, sourceLocation: sourceLocation)
        }
        let records = frames.filter { $0.header.kind == .records }
        guard let first = records.first, let last = records.last else { return }
        for offset in stride(from: first.header.baseOffset, to: last.header.endOffset, by: 7) {
            let batch = try log.readOffsets(from: offset, belowOffset: nextOffset, maxBytes: 300)
            let expected = records.drop { $0.header.endOffset <= offset }
            #expect(batch.headers.first == expected.first?.header, sourceLocation: sourceLocation)
            #expect(
                batch.headers == expected.prefix(batch.headers.count).map(\.header), sourceLocation: sourceLocation)
            // The high watermark cuts between frames, never inside one.
            if let header = batch.headers.first {
                let below = try log.readOffsets(from: offset, belowOffset: header.endOffset - 1, maxBytes: 300)
                #expect(below.isEmpty, sourceLocation: sourceLocation)
            }
        }
        #expect(try log.readOffsets(from: nextOffset, belowOffset: .max, maxBytes: 300).isEmpty)
    }

    static func readAll(_ log: SegmentedLog, maxBytes: Int) throws -> [Frame] {
        var result: [Frame] = []
        var next = log.firstIndex
        while true {
            let batch = try log.read(from: next, through: .max, maxBytes: maxBytes)
            if batch.isEmpty { return result }
            for (position, header) in batch.headers.enumerated() {
                result.append(Frame(header: header, payload: Array(batch.payload(position))))
            }
            next = batch.lastIndex + 1
        }
    }
}
