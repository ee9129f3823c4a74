// No space, at each place that can ask for some: the call that met it fails, nothing acknowledged is lost, and
// writing goes on once there is space, by itself or, where the documentation says so, after opening the store again.
import FileIO
import Memory
import SimulatedIO
import Testing

@testable import Storage

@Suite struct FullDiskTests {
    private static let folder = "data"
    private static let writes = 42

    private static func options(_ engine: StorageEngineKind) -> StandaloneOptions {
        var options = StandaloneOptions()
        options.engine = engine
        options.store.lsm = CompactionTests.options()
        options.store.hashLog.fileBytes = 6 << 10
        options.store.hashLog.writeBufferBytes = 500
        options.store.hashLog.allocator = .system
        options.wal.fileBytes = 32 << 10
        options.wal.groupBytesMax = 4 << 10
        return options
    }

    private static func batch(_ number: Int) throws -> WriteBatch {
        var random = SplitMix(UInt64(number))
        var batch = WriteBatch()
        for _ in 0..<5 {
            let key = paddedKey(random.below(30))
            if random.below(4) == 0 {
                try batch.delete(key: key)
            } else {
                try batch.put(key: key, value: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 400))
            }
        }
        try batch.put(key: bytes("newest"), value: paddedKey(number))
        return batch
    }

    /// What the store holds after each write.
    private static let models: [[KeyValue]] = {
        var model = Model()
        return (0...writes).map { number in
            if number > 0, let batch = try? batch(number) { model.apply(batch) }
            return model.scan(from: [], to: nil, limit: .max)
        }
    }()

    /// One history, whose every step is tried again until it succeeds.
    private final class Run {
        let system = SimulatedFileSystem(seed: 3)
        let engine: StorageEngineKind
        let note: String
        /// Makes space.
        var onFailure: () -> Void = {}
        /// True when a failure may leave the store read-only.
        var mayStop = true
        private var store: StandaloneStore?
        private var newest = 0
        private var isUnsure = false
        private(set) var failures: [StorageError] = []
        /// What it asked of the disk, when that was recorded.
        private(set) var calls: [SimulatedCall] = []

        init(_ engine: StorageEngineKind, _ note: String) {
            self.engine = engine
            self.note = note
        }

        func play() throws {
            try attempt("open") { try open() }
            while newest < FullDiskTests.writes {
                let number = newest + 1
                try attempt("write \(number)") {
                    isUnsure = true
                    // After a failure that stopped the store it may have been made.
                    if newest < number {
                        try writing().write(batch(number), durability: number % 5 == 0 ? .power : .process)
                    }
                    newest = number
                    isUnsure = false
                }
                if number % 6 == 0 { try attempt("maintenance") { try maintain() } }
                if number % 11 == 0 { try attempt("flush") { try writing().flush() } }
                if number % 17 == 0 { try attempt("checkpoint") { try checkpoint("copy-\(number)") } }
                if number == 20 { try attempt("compact") { try (writing().engine as? LSMStore)?.compact() } }
                if number == 30 {
                    store?.close()
                    store = nil
                    try attempt("reopen") { try open() }
                }
            }
            system.capacityBytes = nil
            // A compaction that was paused begins again.
            for _ in 0..<120 { try attempt("maintenance") { try maintain() } }
            let version = (try writing().engine as? LSMStore)?.currentView().version
            #expect((version?.levels[0].count ?? 0) < 2, "\(note): compaction does not go on")
            try attempt("last write") { try writing().write(WriteBatch(), durability: .power) }
            store?.close()
            calls = system.calls ?? []
            system.crash()
            try open()
            store?.close()
        }

        private func batch(_ number: Int) throws -> WriteBatch { try FullDiskTests.batch(number) }

        private func writing() throws -> StandaloneStore { try #require(store, "\(note)") }

        private func open() throws {
            let store = try StandaloneStore.open(
                directory: FullDiskTests.folder, fileSystem: system, options: FullDiskTests.options(engine))
            self.store = store
            let found = try store.get(bytes("newest")).flatMap { Int(String(decoding: $0, as: UTF8.self)) } ?? 0
            #expect(found == newest || isUnsure && found == newest + 1, "\(note): \(found) after \(newest)")
            newest = max(newest, found)
            isUnsure = false
            try check(store)
        }

        private func check(_ store: StandaloneStore) throws {
            let found = try store.scan(from: [], to: nil, limit: .max)
            #expect(same(found, FullDiskTests.models[newest]), "\(note): not what was acknowledged up to \(newest)")
        }

        private func maintain() throws {
            var units = 0
            while try writing().performMaintenance(), units < 500 { units += 1 }
        }

        private func checkpoint(_ name: String) throws {
            guard let lsm = try writing().engine as? LSMStore, try !system.exists(name) else { return }
            let position = try lsm.checkpoint(to: name)
            #expect(position == lsm.applied)
            let copy = try LSMStore.open(directory: name, fileSystem: system, options: CompactionTests.options())
            defer { copy.close() }
            let found = try copy.scan(from: [], to: nil, limit: .max)
            #expect(same(found, FullDiskTests.models[newest]), "\(note): \(name)")
        }

        private func attempt(_ step: String, _ body: () throws -> Void) throws {
            for _ in 0..<4 {
                do {
                    return try body()
                } catch let error as StorageError {
                    failures.append(error)
                    onFailure()
                    guard let store else { continue }
                    try check(store)
                    if case .readOnly = error {
                        #expect(mayStop, "\(note), \(step): \(error)")
                        store.close()
                        self.store = nil
                        try open()
                    }
                }
            }
            Issue.record("\(note): \(step) does not succeed any more: \(failures.suffix(4))")
            throw failures[failures.count - 1]
        }
    }

    /// Calls of one kind: the path is `wal/wal-######.log` and the like.
    private struct Place: Hashable {
        var operation: FileIOError.Operation
        var path: String

        init(_ call: SimulatedCall) {
            operation = call.operation
            path = String(call.path.map { $0.isWholeNumber ? "#" : $0 })
        }
    }

    private static let asking: Set<FileIOError.Operation> = [
        .open, .write, .reserve, .zeroFill, .rename, .link, .createDirectory, .truncate, .sync, .syncDirectory,
    ]

    /// The first, the last and one call in between of each kind fail for lack of space.
    @Test(arguments: StorageEngineKind.allCases) func everyPlaceCanBeTheFullOne(engine: StorageEngineKind) throws {
        let dry = Run(engine, "\(engine) without faults")
        dry.system.calls = []
        try dry.play()
        var places: [Place: [Int]] = [:]
        var numbers: [FileIOError.Operation: Int] = [:]
        for call in dry.calls where Self.asking.contains(call.operation) {
            let number = numbers[call.operation, default: 0]
            numbers[call.operation] = number + 1
            places[Place(call), default: []].append(number)
        }
        #expect(places.count > 20)
        var struck = 0
        for (place, calls) in places.sorted(by: { "\($0.key)" < "\($1.key)" }) {
            for after in Set([calls[0], calls[calls.count / 2], calls[calls.count - 1]]).sorted() {
                let run = Run(engine, "\(engine), \(place.operation) call \(after) on \(place.path)")
                run.system.failNext(operation: place.operation, reason: .noSpace, after: after)
                let isFinal = place.operation == .sync || place.operation == .syncDirectory
                // What is written to a log or, behind it, to the hash log is under way.
                run.mayStop = isFinal || place.path.hasSuffix(".log") || place.path.hasSuffix(".data")
                try run.play()
                struck += run.failures.isEmpty ? 0 : 1
            }
        }
        print("full disk: \(engine), \(places.count) places, \(struck) runs with an error")
    }

    /// The disk has a size; space comes back after the first error.
    @Test(arguments: StorageEngineKind.allCases) func everySizeOfDisk(engine: StorageEngineKind) throws {
        var met = 0
        for kilobytes in stride(from: 20, to: 200, by: 9) {
            let run = Run(engine, "\(engine) on \(kilobytes) KB")
            run.mayStop = engine == .hashlog
            run.system.capacityBytes = kilobytes << 10
            run.onFailure = { run.system.capacityBytes = nil }
            try run.play()
            met += run.failures.isEmpty ? 0 : 1
        }
        #expect(met > 5)
    }
}
