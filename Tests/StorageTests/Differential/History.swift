// A history from a seed: what is done to a store and what is asked of it, without a word about how the store is set up.
@testable import Storage

enum HistoryStep {
    case write(WriteBatch, Durability)
    case get([UInt8])
    case scan(from: [UInt8], to: [UInt8]?, limit: Int)
    /// Moves of an iterator, over the present or over the snapshot of that number.
    case walk(from: [UInt8], to: [UInt8]?, snapshot: Int?, moves: [Move])
    case takeSnapshot
    /// Of that number; the ones behind it move up.
    case dropSnapshot(Int)
    case flush
    case maintain(Int)
    case compact(from: [UInt8], to: [UInt8]?)
    case reopen

    enum Move {
        case next, previous, first, last
        case seek([UInt8])
        case seekBefore([UInt8])
    }
}

struct History {
    let seed: UInt64
    private(set) var steps: [HistoryStep] = []
    private var random: SplitMix
    private var snapshots = 0

    /// - Parameter isOrdered: with what only an engine that keeps an order has: iterators, snapshots, range deletes.
    init(seed: UInt64, count: Int, isOrdered: Bool) throws {
        self.seed = seed
        random = SplitMix(seed)
        for _ in 0..<count {
            steps.append(.write(try batch(isOrdered), random.below(8) == 0 ? .power : .process))
            for _ in 0..<random.below(3) { ask(isOrdered) }
            disturb(isOrdered)
        }
    }

    private mutating func key() -> [UInt8] { random.below(6) == 0 ? random.key() : paddedKey(random.below(200)) }

    private mutating func range() -> (from: [UInt8], to: [UInt8]?) {
        random.below(3) == 0 ? ([], nil) : (key(), random.below(2) == 0 ? nil : key())
    }

    private mutating func batch(_ isOrdered: Bool) throws -> WriteBatch {
        var batch = WriteBatch()
        for _ in 0..<random.below(24) {
            switch random.below(isOrdered ? 40 : 39) {
            case 0..<10: try batch.delete(key: key())
            case 39: try batch.deleteRange(from: key(), to: key())
            default: try batch.put(key: key(), value: random.value())
            }
        }
        return batch
    }

    private mutating func ask(_ isOrdered: Bool) {
        switch random.below(isOrdered ? 8 : 5) {
        case 0..<3: steps.append(.get(key()))
        case 3, 4:
            let range = range()
            steps.append(.scan(from: range.from, to: range.to, limit: random.below(40)))
        default:
            let range = range()
            let snapshot = snapshots > 0 && random.below(2) == 0 ? random.below(snapshots) : nil
            let moves = (0..<20).map { _ in move() }
            steps.append(.walk(from: range.from, to: range.to, snapshot: snapshot, moves: moves))
        }
    }

    private mutating func move() -> HistoryStep.Move {
        switch random.below(12) {
        case 0..<5: .next
        case 5..<8: .previous
        case 8: .first
        case 9: .last
        case 10: .seek(key())
        default: .seekBefore(key())
        }
    }

    private mutating func disturb(_ isOrdered: Bool) {
        switch random.below(40) {
        case 0: steps.append(.flush)
        case 1...6: steps.append(.maintain(1 + random.below(8)))
        case 7:
            snapshots = 0
            steps.append(.reopen)
        case 8...9 where isOrdered:
            snapshots += 1
            steps.append(.takeSnapshot)
        case 10 where snapshots > 0:
            steps.append(.dropSnapshot(random.below(snapshots)))
            snapshots -= 1
        case 11 where isOrdered:
            let range = range()
            steps.append(.compact(from: range.from, to: range.to))
        default: break
        }
    }
}
