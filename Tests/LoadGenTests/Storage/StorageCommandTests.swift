// `LoadGen storage`: the command line that db_bench's users type, the keys and values, and a whole run on the real disk
// of a temporary folder.
import ArgumentParser
import Foundation
import LabKit
import Memory
import Storage
import Testing
import UringIO

@testable import LoadGen

struct StorageCommandTests {
    private func parse(_ line: String) throws -> StorageCommand {
        let arguments = StorageCommand.normalise(line.split(separator: " ").map(String.init))
        return try #require(try LoadGenCommand.parseAsRoot(arguments) as? StorageCommand)
    }

    @Test func spellingsOfDbBenchAreTaken() throws {
        let command = try parse(
            "storage fillrandom readrandom --num=1000 --key_size=24 --value_size 50 --disable_wal=1 --bloom_bits=12 "
                + "--compression_type=none --sync=false --use_existing_db=0 -threads=2 --write_buffer_size=1048576")
        #expect(command.verbs == [.fillrandom, .readrandom])
        #expect(command.num == 1000 && command.keySize == 24 && command.valueSize == 50 && command.threads == 2)
        #expect(command.disableWal && !command.sync && !command.useExistingDb)
        #expect(command.bloomBits == 12 && command.writeBufferSize == 1 << 20)
        let plan = try command.plan()
        #expect(plan.reads == 1000 && plan.writes == 1000)
    }

    @Test func switchesAreTakenAndCheckedByTheirWords() throws {
        let plan = try parse("storage fillrandom --io uring --allocator=jemalloc --engine hashlog").plan()
        #expect(plan.io == .uring && plan.allocator == .jemalloc && plan.engine == .hashlog)
        for wrong in ["--io aio", "--allocator mimalloc", "--engine btree"] {
            #expect(throws: (any Error).self) { try parse("storage fillrandom " + wrong) }
        }
    }

    @Test func otherCommandsKeepTheirArguments() {
        let arguments = ["failover", "--value_size=3", "--name=a_b"]
        #expect(StorageCommand.normalise(arguments) == arguments)
        #expect(
            StorageCommand.normalise(["storage", "--name=a_b", "--db", "x_y"]) == [
                "storage", "--name=a_b", "--db", "x_y",
            ])
    }

    @Test(arguments: [
        "storage fillseq --disable-wal --num 0", "storage fillseq --disable-wal --key-size 7",
        "storage fillsync --disable-wal", "storage fillseq --sync --disable-wal",
        "storage readrandom --use-existing-db",
        "storage readseq --engine hashlog", "storage fillseq --disable-wal --compression snappy",
        "storage fillseq --disable-wal --bloom-bits 99",
    ])
    func wrongValuesAreUsageErrors(line: String) throws {
        let command = try parse(line)
        #expect {
            _ = try command.plan()
        } throws: { error in
            if case .usage = error as? LoadGenError { true } else { false }
        }
    }

    @Test func keysRiseAndKeepTheirNumber() {
        var key = StorageKeys(keyBytes: 16)
        key.set(255)
        #expect(key.bytes == [0, 0, 0, 0, 0, 0, 0, 255] + [UInt8](repeating: UInt8(ascii: "0"), count: 8))
        let low = key.bytes
        key.set(256)
        #expect(low.lexicographicallyPrecedes(key.bytes))
    }

    @Test func valuesRepeatHalfOfThemselves() {
        var values = StorageValues(valueBytes: 100, seed: 1)
        for _ in 0..<20_000 {
            let range = values.next()
            let value = values.buffer[range]
            #expect(value.count == 100)
            #expect(range.lowerBound % 100 != 0 || value.prefix(50).elementsEqual(value.suffix(50)))
        }
    }

    @Test func factsOfTheProcessAreRead() throws {
        #expect(ProcessFacts.value(of: "VmHWM", line: "VmHWM:\t   1234 kB\n") == 1234)
        #expect(ProcessFacts.value(of: "write_bytes", line: "cancelled_write_bytes: 4096\n") == nil)
        #expect(try #require(ProcessFacts.peakResidentBytes) > 1 << 20)
    }
}

struct StorageRunTests {
    private let folder = FileManager.default.temporaryDirectory.path + "/loadgen-storage-\(UUID().uuidString)"

    private func plan(_ line: String) throws -> StoragePlan {
        let arguments = StorageCommand.normalise(line.split(separator: " ").map(String.init))
        return try #require(try LoadGenCommand.parseAsRoot(arguments) as? StorageCommand).plan()
    }

    @Test func whatIsWrittenIsFoundAgainAlsoAfterReopening() throws {
        defer { StorageSubject.remove(folder) }
        let line = "storage fillseq --num 2000 --write-buffer-size 1048576 --disable-wal"
        let filling = try StorageSubject(try plan(line), IOBackend(.posix), folder: folder, isFresh: true)
        let bench = StorageBench(plan: try plan(line), subject: filling)
        #expect(bench.run(.fillseq).map(\.operations) == [2000])
        #expect(bench.run(.overwrite).map(\.operations) == [2000])
        try filling.close()

        let read = try plan(
            "storage readrandom --num 2000 --threads 2 --reads 500 --histogram --db x --use-existing-db --disable-wal")
        let reading = try StorageSubject(read, IOBackend(.posix), folder: folder, isFresh: false)
        let reader = StorageBench(plan: read, subject: reading)
        for tally in reader.run(.readrandom) {
            #expect(tally.failure == nil)
            #expect(tally.found == 500 && tally.bytes == 500 * 116 && tally.latencies?.count == 500)
        }
        #expect(reader.run(.multireadrandom).map(\.found) == [512, 512])
        #expect(reader.run(.readmissing).map(\.found) == [0, 0])
        #expect(reader.run(.seekrandom).map(\.found) == [500, 500])
        #expect(reader.run(.readseq).map(\.operations) == [500, 500])
        let mixed = reader.run(.readwhilewriting)
        #expect(mixed.count == 3 && mixed.allSatisfy { $0.failure == nil })
        try reading.close()
    }

    @Test func aStoreWithALogIsReadAgainWithoutAFlush() throws {
        defer { StorageSubject.remove(folder) }
        let written = try plan("storage fillseq --num 300 --batch-size 10")
        let filling = try StorageSubject(written, IOBackend(.posix), folder: folder, isFresh: true)
        #expect(StorageBench(plan: written, subject: filling).run(.fillseq).map(\.operations) == [300])
        let synced = try plan("storage fillsync --num 300 --writes 5")
        #expect(StorageBench(plan: synced, subject: filling).run(.fillsync).map(\.operations) == [5])
        try filling.close()
        let reading = try StorageSubject(written, IOBackend(.posix), folder: folder, isFresh: false)
        #expect(StorageBench(plan: written, subject: reading).run(.readrandom).map(\.found) == [300])
        try reading.close()
        let without = try plan("storage readrandom --num 300 --disable-wal")
        #expect(throws: LoadGenError.self) {
            try StorageSubject(without, IOBackend(.posix), folder: folder, isFresh: false)
        }
    }

    @Test(arguments: ["posix", "uring"])
    func theHashLogIsFilledAndRead(io: String) throws {
        defer { StorageSubject.remove(folder) }
        let plan = try plan("storage fillrandom --num 500 --engine hashlog --allocator system --io \(io)")
        let subject = try StorageSubject(plan, IOBackend(plan.io), folder: folder, isFresh: true)
        let bench = StorageBench(plan: plan, subject: subject)
        #expect(bench.run(.fillrandom).map(\.operations) == [500])
        let read = try #require(bench.run(.readrandom).first)
        #expect(read.failure == nil && read.found > 200 && read.found < 500)
        try subject.close()
    }

    @Test func aForeignFolderIsLeftAlone() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = folder + "/precious"
        try Data("x".utf8).write(to: URL(fileURLWithPath: file))
        let plan = try plan("storage fillseq --disable-wal --num 10")
        #expect(throws: LoadGenError.self) {
            try StorageSubject(plan, IOBackend(.posix), folder: folder, isFresh: true)
        }
        StorageSubject.remove(folder)
        #expect(FileManager.default.fileExists(atPath: file))
    }

    @Test func reportLinesReadLikeDbBench() throws {
        var tally = StorageTally(operations: 1000, found: 630, bytes: 116_000, start: 0, end: 2_000_000)
        tally.latencies = nil
        let outcome = StorageOutcome(
            verb: .readrandom, plan: try plan("storage readrandom --num 1000"), tallies: [tally], writtenBytes: 0,
            peakBytes: 1 << 20)
        #expect(
            outcome.line
                == "readrandom   :       2.000 micros/op 500000 ops/sec 0.002 seconds 1000 operations;   55.3 MB/s "
                + "(630 of 1000 found)")
        let result = outcome.result(title: "t")
        #expect(result.scenario == "storage_readrandom" && result.operationsPerSecond == 500_000)
    }
}
