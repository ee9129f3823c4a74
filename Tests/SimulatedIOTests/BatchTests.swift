// What every backend owes to the callers of a batch: each operation its own outcome, whatever the order; and the same
// bytes from the same seeded history on every backend.
import FileIO
import PosixIO
import SimulatedIO
import Testing
import UringIO

@Suite struct BatchTests {
    /// Memory for a batch's reads.
    private func withBuffer(_ count: Int, _ body: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: FileCaching.alignmentBytes)
        defer { buffer.deallocate() }
        buffer.initializeMemory(as: UInt8.self, repeating: 0xee)
        try body(buffer)
    }

    private func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { (index: Int) -> UInt8 in UInt8(truncatingIfNeeded: index * 31 + index / 256) }
    }

    @Test(arguments: Backend.allCases, [1, 2, 7, 300, 1000])
    func readsComeBackInPlace(backend: Backend, count: Int) throws {
        try backend.withFolder { files, folder in
            let file = try files.open(folder + "/file", .create)
            let content = pattern(count * 16)
            try file.write(bytes: content, at: 0)
            try withBuffer(count * 16) { buffer in
                // Backwards, so that position and order differ.
                var batch = (0..<count).reversed().map { (index: Int) -> FileOperation in
                    let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[index * 16..<index * 16 + 16])
                    return FileOperation(file, .read(into: piece, at: UInt64(index * 16)))
                }
                files.perform(&batch)
                for operation in batch {
                    let moved = try operation.get()
                    #expect(moved == 16)
                }
                #expect(Array(buffer) == content)
            }
        }
    }

    @Test(arguments: Backend.allCases)
    func eachOutcomeIsItsOwn(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let file = try files.open(folder + "/file", .create)
            try file.write(bytes: Array(0..<10), at: 0)
            let reader = try files.open(folder + "/file", .read)
            try withBuffer(32) { buffer in
                let seven = UnsafeRawBufferPointer(rebasing: buffer[31...])
                buffer[31] = 7
                var batch = [
                    FileOperation(file, .read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[0..<8]), at: 6)),
                    FileOperation(reader, .write([seven], at: 0, durability: .process)),
                    FileOperation(file, .write([seven, seven], at: 20, durability: .power)),
                    FileOperation(file, .sync),
                    FileOperation(
                        file, .read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[8..<16]), at: 1 << 40)),
                    FileOperation(file, .write([], at: 0, durability: .power)),
                ]
                files.perform(&batch)
                let moved = batch.map { try? $0.get() }
                // The first read may come before or after the write that grows the file.
                #expect(moved[0] == 4 || moved[0] == 8)
                #expect(moved[1...] == [nil, 2, 0, 0, 0])
                #expect(Array(buffer[0..<4]) == [6, 7, 8, 9])
            }
            #expect(try file.read(count: 30, at: 0).count == 22)
            #expect(try file.read(count: 2, at: 20) == [7, 7])
        }
    }

    @Test(arguments: Backend.allCases)
    func manyFilesSyncInOneBatch(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let many = try (0..<20).map { try files.open(folder + "/\($0)", .create) }
            for (index, file) in many.enumerated() { try file.write(bytes: [UInt8(index)], at: 0) }
            var batch = many.map { FileOperation($0, .sync) }
            files.perform(&batch)
            for operation in batch {
                let moved = try operation.get()
                #expect(moved == 0)
            }
        }
    }

    @Test(arguments: Backend.allCases)
    func directFilesWantAlignment(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let path = folder + "/file"
            let block = FileCaching.alignmentBytes
            do {
                _ = try files.open(path, .create, .direct)
            } catch let error as FileIOError {
                // A file system without O_DIRECT says so; there is nothing else to check on it.
                #expect(error.reason == .other)
                return
            }
            let file = try files.open(path, .readWrite, .direct)
            try withBuffer(3 * block) { buffer in
                let bytes = UnsafeRawBufferPointer(buffer)
                try file.write([UnsafeRawBufferPointer(rebasing: bytes[..<block])], at: 0, durability: .power)
                #expect(throws: FileIOError.self) {
                    try file.write([UnsafeRawBufferPointer(rebasing: bytes[..<100])], at: 0, durability: .process)
                }
                #expect(throws: FileIOError.self) {
                    _ = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<block]), at: 7)
                }
                #expect(try file.read(into: buffer, at: 0) == block)
            }
        }
    }

    /// The same seeded history on two backends: identical answers, errors and bytes.
    @Test(arguments: [Backend.uring, .uringAlone, .simulated, .powerLoss], 1...5 as ClosedRange<UInt64>)
    func historiesAgreeWithPosix(backend: Backend, seed: UInt64) throws {
        var answers: [[String]] = []
        for side in [Backend.posix, backend] {
            try side.withFolder { files, folder in
                var history = DiskHistory(seed: seed, files: files, folder: folder)
                answers.append(try history.run(steps: 300))
            }
        }
        #expect(answers[0] == answers[1], "seed \(seed)")
    }
}

/// Random calls on a few files; what came of each, in words.
private struct DiskHistory {
    private var random: SplitMix
    private let files: any FileSystem
    private let folder: String
    private var open: [any File] = []

    init(seed: UInt64, files: any FileSystem, folder: String) {
        random = SplitMix(state: seed)
        self.files = files
        self.folder = folder
    }

    mutating func run(steps: Int) throws -> [String] {
        var log: [String] = []
        for _ in 0..<steps {
            do {
                log.append(try step())
            } catch let error as FileIOError {
                log.append("\(error.operation) \(error.reason)")
            }
        }
        for name in try files.list(folder) {
            log.append("\(name) \(try files.readFile(folder + "/" + name) ?? [])")
        }
        return log
    }

    private mutating func step() throws -> String {
        let name = "f\(random.below(4))"
        let path = folder + "/" + name
        switch random.below(10) {
        case 0:
            let modes: [OpenMode] = [.read, .readWrite, .create, .createOrOpen]
            open.append(try files.open(path, modes[random.below(4)]))
            if open.count > 6 { open.removeFirst() }
            return "opened \(name)"
        case 1:
            if random.below(4) == 0 { try files.remove(path) }
            return "removed \(name)"
        case 2:
            try files.rename(path, to: folder + "/f\(random.below(4))")
            return "renamed"
        case 3:
            try files.link(path, to: folder + "/f\(random.below(4))")
            return "linked"
        default:
            guard !open.isEmpty else { return "nothing open" }
            return transfer()
        }
    }

    private mutating func transfer() -> String {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 * 600, alignment: 8)
        defer { memory.deallocate() }
        for index in memory.indices { memory[index] = UInt8(truncatingIfNeeded: random.next()) }
        let isReading = random.below(2) == 0
        var batch: [FileOperation] = []
        for part in 0..<1 + random.below(7) {
            let piece = UnsafeMutableRawBufferPointer(rebasing: memory[part * 600..<part * 600 + 1 + random.below(599)])
            // Parts of one batch never overlap.
            let position = UInt64(part * 600)
            let file = open[random.below(open.count)]
            batch.append(
                isReading
                    ? FileOperation(file, .read(into: piece, at: position))
                    : FileOperation(
                        file,
                        .write(
                            [UnsafeRawBufferPointer(piece)], at: position,
                            durability: random.below(4) == 0 ? .power : .process)))
        }
        files.perform(&batch)
        let outcomes = batch.map { operation in
            switch operation.outcome {
            case .success(let count): "\(count)"
            case .failure(let error): "\(error.operation)"
            case nil: "none"
            }
        }
        return outcomes.joined(separator: " ") + (isReading ? " \(Array(memory))" : "")
    }
}

private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
