// The loops of `LoadGen disk` and what they measured. One thread; the file is made, written and synced before the clock
// starts. A short read or a failed operation ends the run: a figure with errors in it is none.
import FileIO
import Foundation
import Glibc
import LabKit
import UringIO

struct DiskBench {
    let command: DiskCommand
    let backend: any FileSystem

    /// Runs the command and returns its report line.
    static func run(_ command: DiskCommand) throws(LoadGenError) -> String {
        try command.check()
        var options = UringOptions()
        // The logs of a turn go in with one call; the reads of a batch one by one, so that the device is busy at once.
        options.inFlightMax = max(command.depth, command.logs)
        options.perEnterMax = max(command.perEnter, command.logs)
        if command.ringAlone { options.batchMin = 1 }
        let choice = IOBackend(command.io, options)
        let bench = DiskBench(command: command, backend: choice.fileSystem)
        let folder = command.folder + "/disk-\(getpid())"
        do throws(FileIOError) {
            try choice.fileSystem.createDirectory(folder)
            defer { try? choice.fileSystem.removeTree(folder) }
            let tally = try bench.measure(folder + "/data")
            return bench.line(tally, choice)
        } catch {
            throw LoadGenError.failed(error.description)
        }
    }

    private struct Tally {
        var operations = 0
        var seconds = 0.0
        var latencies = LatencyHistogram()
    }

    private func measure(_ path: String) throws(FileIOError) -> Tally {
        let caching: FileCaching = command.direct ? .direct : .buffered
        var files: [any File] = []
        for number in 0..<command.logs {
            try prepare("\(path)-\(number)")
            files.append(try backend.open("\(path)-\(number)", .readWrite, caching))
        }
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: command.blockSize * Self.batch(command.depth), alignment: FileCaching.alignmentBytes)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0x5a)
        switch command.pattern {
        case .randread: return try readAtRandom(files[0], memory)
        case .append where files.count == 1: return try append(files[0], UnsafeRawBufferPointer(memory))
        case .append: return try append(files, UnsafeRawBufferPointer(memory))
        }
    }

    /// Requests of one batch: several depths, so that the device stays busy while a batch goes round.
    private static func batch(_ depth: Int) -> Int { depth == 1 ? 1 : depth * 16 }

    /// Of each file.
    private var fileBytes: Int { command.fileSize / command.logs }

    private func prepare(_ path: String) throws(FileIOError) {
        let file = try backend.open(path, .create)
        switch (command.pattern, command.file) {
        case (.append, .growing): break
        case (.append, .preallocated): try file.reserve(at: 0, count: UInt64(fileBytes))
        case (.append, .recycled), (.randread, _): try file.zeroFill(at: 0, count: UInt64(fileBytes))
        }
        try file.sync()
        // Cold reads: what the preparation left in the page cache is dropped. Only advice, as for fio's own.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 {
            posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_DONTNEED))
            close(descriptor)
        }
    }

    private func readAtRandom(
        _ file: any File, _ memory: UnsafeMutableRawBufferPointer
    ) throws(FileIOError) -> Tally {
        var random = SeededRandom(seed: command.seed, stream: 1)
        var tally = Tally()
        let blocks = command.fileSize / command.blockSize
        let batchSize = Self.batch(command.depth)
        let begun = MonotonicClock.now()
        var last = begun
        let end = begun + UInt64(command.seconds * 1e9)
        while last < end {
            if batchSize == 1 {
                let position = UInt64(random.below(blocks) * command.blockSize)
                try check(try file.read(into: memory, at: position), file)
            } else {
                var batch: [FileOperation] = []
                batch.reserveCapacity(batchSize)
                for slot in 0..<batchSize {
                    let start = slot * command.blockSize
                    let buffer = UnsafeMutableRawBufferPointer(rebasing: memory[start..<start + command.blockSize])
                    let position = UInt64(random.below(blocks) * command.blockSize)
                    batch.append(FileOperation(file, .read(into: buffer, at: position)))
                }
                backend.perform(&batch)
                for operation in batch { try check(try operation.get(), file) }
            }
            let now = MonotonicClock.now()
            tally.operations += batchSize
            tally.latencies.record(now - last)
            last = now
        }
        tally.seconds = MonotonicClock.seconds(from: begun, to: last)
        return tally
    }

    private func append(_ file: any File, _ memory: UnsafeRawBufferPointer) throws(FileIOError) -> Tally {
        var tally = Tally()
        let block = UnsafeRawBufferPointer(rebasing: memory[..<command.blockSize])
        let begun = MonotonicClock.now()
        var last = begun
        let end = begun + UInt64(command.seconds * 1e9)
        var position = 0
        while last < end {
            if command.dsync {
                try file.write([block], at: UInt64(position), durability: .power)
            } else {
                try file.write([block], at: UInt64(position), durability: .process)
                try file.sync()
            }
            position += command.blockSize
            let now = MonotonicClock.now()
            tally.operations += 1
            tally.latencies.record(now - last)
            last = now
            // The file must be in its state for every append that counts.
            if command.file != .growing, position + command.blockSize > command.fileSize { break }
        }
        tally.seconds = MonotonicClock.seconds(from: begun, to: last)
        return tally
    }

    /// A block to each log, all durable before the next turn: what a node does whose partitions all have entries.
    private func append(_ files: [any File], _ memory: UnsafeRawBufferPointer) throws(FileIOError) -> Tally {
        var tally = Tally()
        let block = UnsafeRawBufferPointer(rebasing: memory[..<command.blockSize])
        let begun = MonotonicClock.now()
        var last = begun
        let end = begun + UInt64(command.seconds * 1e9)
        var position: UInt64 = 0
        while last < end {
            let durability: WriteDurability = command.dsync ? .power : .process
            try perform(files.map { FileOperation($0, .write([block], at: position, durability: durability)) })
            if !command.dsync { try perform(files.map { FileOperation($0, .sync) }) }
            position += UInt64(command.blockSize)
            let now = MonotonicClock.now()
            tally.operations += files.count
            tally.latencies.record(now - last)
            last = now
            if command.file != .growing, position + UInt64(command.blockSize) > UInt64(fileBytes) { break }
        }
        tally.seconds = MonotonicClock.seconds(from: begun, to: last)
        return tally
    }

    private func perform(_ operations: [FileOperation]) throws(FileIOError) {
        var batch = operations
        backend.perform(&batch)
        for operation in batch { _ = try operation.get() }
    }

    private func check(_ moved: Int, _ file: any File) throws(FileIOError) {
        guard moved == command.blockSize else {
            throw FileIOError(
                operation: .read, path: file.path, reason: .other,
                detail: "\(moved) of \(command.blockSize) bytes came back")
        }
    }

    /// `randread : 12.3 micros/op 81234 ops/sec …; key=value …`: the fields that Scripts/peers reads.
    private func line(_ tally: Tally, _ choice: IOBackend) -> String {
        let rate = Double(tally.operations) / max(tally.seconds, 1e-9)
        let name = command.pattern.rawValue + String(repeating: " ", count: 10 - command.pattern.rawValue.count)
        var text = "\(name) : \(NumberText.fixed(1e6 / max(rate, 1e-9), 3)) micros/op \(UInt64(rate)) ops/sec "
        text += "\(NumberText.fixed(tally.seconds, 3)) seconds \(tally.operations) operations; "
        text += "io=\(choice.kind.rawValue) direct=\(command.direct) depth=\(command.depth) block=\(command.blockSize)"
        if command.pattern == .append {
            text += " logs=\(command.logs) file=\(command.file.rawValue) sync=\(command.dsync ? "dsync" : "fdatasync")"
        }
        if let uring = choice.uringStatistics, uring.submitted > 0 {
            text += "; \(NumberText.fixed(uring.submittedPerEnter, 1)) requests per enter, "
            text += "\(uring.shortTransfers) short, \(uring.workerThreads) worker threads"
        }
        return text
    }
}
