// Logs as the engine itself wrote them, cut at every byte and flipped at every byte, then opened: what comes back is a
// prefix or a corruption error, never wrong data, never less than what was durable; and the log that is begun behind
// what came back can be read too.
import SimulatedIO
import Testing

@testable import Storage

@Suite struct WALDamageTests {
    /// Files of a log folder, and what they hold.
    private struct Sample {
        var log: TestLog
        /// Oldest first, each cut behind its last byte that is not zero, and 64 bytes on.
        var files: [(path: String, bytes: [UInt8])] = []
        /// Where each record ends: position of its file, and of the byte in it, without padding.
        var ends: [(file: Int, byte: Int)] = []
        /// Newest record that was acknowledged as durable.
        var durable: UInt64 = 0

        /// Writes a record for each level; `begins` says in front of which ones a new file is begun.
        init(_ levels: [Durability], begins: Set<Int> = [], sizes: [Int]? = nil, fileBytes: Int = 8 << 10) throws {
            let system = SimulatedFileSystem(seed: 1)
            log = TestLog(system, fileBytes: fileBytes)
            if let sizes { log.sizes = sizes }
            var (writer, _) = try log.open("new")
            for (number, level) in levels.enumerated() {
                // A reservation larger than the file begins the next one.
                if begins.contains(number) {
                    try writer.makeRoom(records: 1, bytes: log.options.fileBytes, durability: level)
                }
                let index = try log.write(&writer, level)
                if level == .power { durable = index }
            }
            for path in try system.files(in: TestLog.folder) where path.hasSuffix(".log") {
                let bytes = try system.bytes(path)
                let end = bytes.lastIndex { $0 != 0 } ?? 0
                files.append((path, Array(bytes[...min(end + 64, bytes.count - 1)])))
            }
            for (position, file) in files.enumerated() { try findEnds(position, file) }
            #expect(ends.count == levels.count)
        }

        private mutating func findEnds(_ position: Int, _ file: (path: String, bytes: [UInt8])) throws {
            let number = UInt64(position + 1)
            file.bytes.withUnsafeBytes { bytes in
                var next = 0
                while let frame = WALFrame(bytes, at: WALFrame.start(from: next), number: number) {
                    if frame.kind == .full || frame.kind == .last { ends.append((position, frame.payload.upperBound)) }
                    next = frame.end
                }
            }
        }

        /// Newest record that is whole in front of a byte.
        func whole(before byte: Int, of file: Int) -> UInt64 {
            UInt64(ends.count { $0.file < file || $0.file == file && $0.byte <= byte })
        }

        /// Opens a copy of the folder in which `file` holds `bytes`.
        /// - Returns: the newest record, nil when the log is refused as corrupt.
        func open(_ file: Int, with bytes: [UInt8], _ note: @autoclosure () -> String) throws -> UInt64? {
            let system = SimulatedFileSystem(seed: 1)
            try system.createDirectory(TestLog.folder)
            for (position, whole) in files.enumerated() {
                try system.setBytes(whole.path, position == file ? bytes : whole.bytes)
            }
            var copy = TestLog(system, fileBytes: log.options.fileBytes)
            copy.sizes = log.sizes
            do {
                var (writer, last) = try copy.open(note())
                let name = files[file].path
                if try system.exists(name) { #expect(try system.bytes(name) == bytes, "\(note()): it was rewritten") }
                // What was found is durable now: a power cut may take nothing of it, nor of what follows.
                try copy.write(&writer, .power)
                system.crash()
                #expect(try copy.open(note()).last == last + 1, "\(note()), opened again")
                return last
            } catch StorageError.corruption {
                return nil
            }
        }
    }

    private static let mixed: [Durability] = [.process, .power, .process, .none, .process, .power, .process, .process]

    @Test(arguments: [0, 64, 1000]) func everyCut(tail: Int) throws {
        let sample = try Sample(Self.mixed)
        let whole = sample.files[0].bytes
        // Behind the cut: nothing, zeros of a reserved file, or frames of the log that had the file before.
        let old =
            tail == 1000 ? try Self.usedFile(whole.count + tail) : [UInt8](repeating: 0, count: whole.count + tail)
        for cut in 0...whole.count {
            let bytes = whole[..<cut] + (tail == 0 ? [] : old[cut..<whole.count + min(tail, 64)])
            let last = try sample.open(0, with: Array(bytes), "cut \(cut), tail \(tail)")
            // Zeros behind a cut can be what stood there.
            let least = sample.whole(before: cut / 8 * 8, of: 0)
            let most = sample.whole(before: (cut + 7) / 8 * 8 + 8, of: 0)
            #expect(
                last.map { (least...most).contains($0) } == true,
                "cut \(cut), tail \(tail): \(String(describing: last))")
        }
    }

    /// Bytes of a log with another number, all of it promised.
    private static func usedFile(_ count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: bytes.count), count: 24)
            let position = bytes.count
            payload.withUnsafeBytes {
                bytes.appendFrame(.full, $0, log: 77, at: position, syncedOffset: UInt64(position))
            }
        }
        return bytes
    }

    private static func masks(_ position: Int) -> [UInt8] {
        #if DEBUG
        [UInt8(1) << (position % 8)]
        #else
        (0..<8).map { UInt8(1) << $0 } + [0xFF]
        #endif
    }

    @Test func everyFlip() throws {
        let sample = try Sample(Self.mixed)
        let whole = sample.files[0].bytes
        for position in whole.indices {
            for mask in Self.masks(position) {
                let note = "byte \(position), mask \(mask)"
                var bytes = whole
                bytes[position] ^= mask
                guard let last = try sample.open(0, with: bytes, note) else { continue }
                // A log without a preamble counts as never begun, which nobody was promised anything in.
                if position < WALPreamble.frameBytes { continue }
                #expect(last >= max(sample.durable, sample.whole(before: position, of: 0)), "\(note): \(last)")
            }
        }
    }

    /// The older of two files: its successor says where it ended.
    @Test(arguments: [Durability.power, .process]) func everyCutAndFlipInFrontOfASuccessor(level: Durability) throws {
        let levels: [Durability] = [.process, level, .process, .process, level, .process]
        let sample = try Sample(levels, begins: [4])
        let whole = sample.files[0].bytes
        #expect(sample.files.count == 2)
        let all = UInt64(levels.count)
        for position in whole.indices {
            for isCut in [true, false] {
                let note = "\(level), \(isCut ? "cut" : "flip") \(position)"
                var bytes = isCut ? Array(whole[..<position]) : whole
                if !isCut { bytes[position] ^= UInt8(1) << (position % 8) }
                let last = try sample.open(0, with: bytes, note)
                if let last, last < all {
                    #expect(level == .process, "\(note): \(last)")
                    #expect(last >= sample.whole(before: position / 8 * 8, of: 0), "\(note): \(last)")
                }
            }
        }
    }

    /// The newer of two files.
    @Test func everyFlipBehindAPredecessor() throws {
        let sample = try Sample([.process, .power, .process, .power, .process, .power, .process], begins: [3])
        let whole = sample.files[1].bytes
        for position in whole.indices {
            var bytes = whole
            bytes[position] ^= UInt8(1) << (position % 8)
            let last = try sample.open(1, with: bytes, "byte \(position)")
            if let last, position >= WALPreamble.frameBytes {
                #expect(last >= max(sample.durable, sample.whole(before: position, of: 1)), "byte \(position): \(last)")
            }
        }
    }

    /// A record over the border of two blocks: every byte around the border, and of the frames' headers.
    @Test func everyCutAndFlipAroundTheBlockBorder() throws {
        let sample = try Sample(
            [.process, .power, .process, .power], sizes: [20, 30_000, 5000, 20, 20],
            fileBytes: 3 * WALFrame.blockBytes)
        let whole = sample.files[0].bytes
        for position in WALFrame.blockBytes - 80..<WALFrame.blockBytes + 80 {
            let note = "byte \(position)"
            let cut = try sample.open(0, with: Array(whole[..<position]), "cut \(note)")
            #expect(cut == sample.whole(before: position, of: 0), "cut \(note)")
            var bytes = whole
            bytes[position] ^= UInt8(1) << (position % 8)
            if let last = try sample.open(0, with: bytes, "flip \(note)") {
                #expect(last >= sample.durable, "flip \(note)")
            }
        }
    }
}
