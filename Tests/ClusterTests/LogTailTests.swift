// The in-memory end of a log against a plain array of the same entries, through appends, truncations and evictions.
import Raft
import SegmentedLog
import Testing

@testable import Cluster

@Suite struct LogTailTests {
    private func batch(_ range: ClosedRange<UInt64>, term: UInt64, size: Int) -> FrameBatch {
        var batch = FrameBatch()
        for index in range {
            batch.append(
                kind: .command, index: index, term: term, baseOffset: 0, recordCount: 0,
                payload: [UInt8](repeating: UInt8(truncatingIfNeeded: index &+ term), count: size))
        }
        return batch
    }

    @Test(arguments: 0..<30)
    func agreesWithAnArray(seed: Int) {
        var random = SeededGenerator(state: UInt64(seed))
        var tail = LogTail()
        var model: [(index: UInt64, term: UInt64)] = []
        var next: UInt64 = 1
        var evicted: UInt64 = 0
        for term in 1...60 as ClosedRange<UInt64> {
            switch Int.random(in: 0..<4, using: &random) {
            case 0 where next > evicted + 2:
                let from = UInt64.random(in: (evicted + 1)..<next, using: &random)
                tail.truncate(from: from)
                model.removeAll { $0.index >= from }
                next = from
            case 1:
                tail.evict(through: next / 2, keeping: LogTail.keptBytesMax)
                let first = tail.firstIndex ?? next
                evicted = max(evicted, first - 1)
                model.removeAll { $0.index < first }
            default:
                let count = UInt64.random(in: 1...5, using: &random)
                tail.append(batch(next...(next + count - 1), term: term, size: 200_000))
                for index in next..<(next + count) { model.append((index, term)) }
                next += count
            }
            #expect(tail.firstIndex == model.first?.index, "seed \(seed)")
            #expect(tail.lastIndex == model.last?.index, "seed \(seed)")
            for entry in model {
                #expect(tail.header(at: entry.index)?.term == entry.term, "seed \(seed)")
            }
            if let first = model.first, let last = model.last {
                let headers = tail.headers(from: first.index, through: last.index, maxBytes: .max)
                #expect(headers?.map(\.term) == model.map(\.term), "seed \(seed)")
                #expect(tail.frames(from: first.index, through: last.index)?.headers.count == model.count)
            }
            #expect(!tail.contains(next))
        }
    }

    @Test func atLeastOneEntryIsOfferedWhateverItsSize() {
        var tail = LogTail()
        tail.append(batch(1...3, term: 1, size: 1000))
        #expect(tail.headers(from: 1, through: 3, maxBytes: 10)?.count == 1)
        #expect(tail.headers(from: 1, through: 3, maxBytes: 2500)?.count == 2)
        #expect(tail.headers(from: 4, through: 4, maxBytes: 10) == nil)
    }
}
