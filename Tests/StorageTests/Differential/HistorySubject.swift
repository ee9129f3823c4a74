// Those who live through a history: a store, however it is set up, and a sorted map. Each answer becomes a line of
// numbers and bytes; equal transcripts are equal answers.
import FileIO
import Testing

@testable import Storage

/// What was answered to one step.
typealias HistoryAnswer = [[UInt8]]

private let nothing: [UInt8] = [0xEE]

extension Model {
    /// The transcript that is right.
    static func transcript(of history: History) -> [HistoryAnswer] {
        var model = Model()
        var held: [Model] = []
        return history.steps.map { step in
            switch step {
            case .write(let batch, _): model.apply(batch)
            case .get(let key): return [model.values[key] ?? nothing]
            case .scan(let from, let to, let limit):
                return model.scan(from: from, to: to, limit: limit).flatMap { [$0.key, $0.value] }
            case .walk(let from, let to, let snapshot, let moves):
                let all = (snapshot.map { held[$0] } ?? model).scan(from: from, to: to, limit: .max)
                return walk(all, moves)
            case .takeSnapshot: held.append(model)
            case .dropSnapshot(let number): held.remove(at: number)
            case .reopen: held = []
            case .flush, .maintain, .compact: break
            }
            return []
        }
    }

    private static func walk(_ all: [KeyValue], _ moves: [HistoryStep.Move]) -> HistoryAnswer {
        // Nil: on no entry, from which only an absolute move leads back.
        var place: Int?
        func firstPlace(from key: [UInt8]) -> Int {
            all.firstIndex { !$0.key.lexicographicallyPrecedes(key) } ?? all.count
        }
        return moves.map { move in
            switch move {
            case .next: place = place.map { $0 + 1 }
            case .previous: place = place.map { $0 - 1 }
            case .first: place = 0
            case .last: place = all.count - 1
            case .seek(let key): place = firstPlace(from: key)
            case .seekBefore(let key): place = firstPlace(from: key) - 1
            }
            guard let found = place, all.indices.contains(found) else {
                place = nil
                return nothing
            }
            return all[found].key + [0] + all[found].value
        }
    }
}

/// A store with its own log.
final class HistorySubject {
    private let directory: String
    private let fileSystem: any FileSystem
    private let options: StandaloneOptions
    private var store: StandaloneStore
    private var held: [Snapshot] = []

    init(_ directory: String, _ fileSystem: any FileSystem, _ options: StandaloneOptions) throws {
        (self.directory, self.fileSystem, self.options) = (directory, fileSystem, options)
        store = try StandaloneStore.open(directory: directory, fileSystem: fileSystem, options: options)
    }

    func close() {
        held = []
        store.close()
    }

    func answer(_ step: HistoryStep) throws -> HistoryAnswer {
        switch step {
        case .write(let batch, let durability):
            while store.needsBackpressure { if try !store.performMaintenance() { break } }
            try store.write(batch, durability: durability)
        case .get(let key): return [try store.get(key) ?? nothing]
        case .scan(let from, let to, let limit):
            return try store.scan(from: from, to: to, limit: limit).flatMap { [$0.key, $0.value] }
        case .walk(let from, let to, let snapshot, let moves):
            return try walk(
                IteratorOptions(lower: from, upper: to, snapshot: snapshot.map { held[$0] }), moves)
        case .takeSnapshot: held.append(try tree.snapshot())
        case .dropSnapshot(let number): held.remove(at: number)
        case .flush: try store.flush()
        case .maintain(let units): for _ in 0..<units where try !store.performMaintenance() { break }
        case .compact(let from, let to): try tree.compact(from: from, to: to)
        case .reopen:
            close()
            store = try StandaloneStore.open(directory: directory, fileSystem: fileSystem, options: options)
        }
        return []
    }

    private var tree: LSMStore {
        get throws { try #require(store.engine as? LSMStore) }
    }

    private func walk(_ options: IteratorOptions, _ moves: [HistoryStep.Move]) throws -> HistoryAnswer {
        var entries = try tree.makeIterator(options)
        var answer: HistoryAnswer = []
        for move in moves {
            switch move {
            case .next: if entries.isValid { try entries.next() }
            case .previous: if entries.isValid { try entries.previous() }
            case .first: try entries.seekToFirst()
            case .last: try entries.seekToLast()
            case .seek(let key): try entries.seek(key)
            case .seekBefore(let key): try entries.seekBefore(key)
            }
            answer.append(entries.isValid ? [UInt8](entries.key) + [0] + [UInt8](entries.value) : nothing)
        }
        return answer
    }

    var stateHash: UInt64 { get throws { try store.engine.stateHash() } }
}
