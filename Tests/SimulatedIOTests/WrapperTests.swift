// Faults around a real disk: what a power loss leaves when the process is killed (here: forgotten), against a model of
// names and bytes; and the faults that are late or fail.
import FileIO
import PosixIO
import SimulatedIO
import Testing

@Suite struct WrapperTests {
    private func withDisk(_ body: (_ restart: () -> any FileSystem, String) throws -> Void) throws {
        try Backend.posix.withFolder { files, folder in
            try files.createDirectory(folder + "/data")
            // Only the real disk is left from the process before.
            try body(
                { DiskFault(.powerLoss).wrap(PosixFileSystem(), folder: folder, seed: 1) }, folder + "/data")
        }
    }

    @Test func whatWasNotSyncedIsGone() throws {
        try withDisk { restart, folder in
            var files = restart()
            let file = try files.open(folder + "/log", .create)
            try file.write(bytes: [UInt8](repeating: 1, count: 10_000), at: 0)
            try file.sync()
            #expect(try restart().list(folder) == [])
            try files.syncDirectory(folder)
            try file.write(bytes: [UInt8](repeating: 2, count: 10_000), at: 5000)
            #expect(try file.size() == 15_000)
            #expect(try file.read(count: 2, at: 4999) == [1, 2])
            #expect(try restart().readFile(folder + "/log") == [UInt8](repeating: 1, count: 10_000))
            try file.write(bytes: [3], at: 20_000, durability: .power)
            files = restart()
            let content = try #require(try files.readFile(folder + "/log"))
            #expect(content.count == 20_001 && content[20_000] == 3 && content[4999] == 1)
            try file.truncate(to: 100)
            try file.write(bytes: [4], at: 200)
            #expect(try file.read(count: 300, at: 99) == [1] + [UInt8](repeating: 0, count: 100) + [4])
            #expect(try restart().open(folder + "/log", .read).size() == 20_001)
            try file.sync()
            #expect(try restart().readFile(folder + "/log")?.count == 201)
        }
    }

    @Test func namesAreAsOfTheLastSyncOfTheirFolder() throws {
        try withDisk { restart, folder in
            let files = restart()
            for name in ["a", "b", "c"] {
                let file = try files.open("\(folder)/\(name)", .create)
                try file.write(bytes: Array(name.utf8), at: 0, durability: .power)
            }
            try files.syncDirectory(folder)
            // A circle through a third name, a removal, and a name that is made again.
            try files.rename(folder + "/a", to: folder + "/x")
            try files.rename(folder + "/b", to: folder + "/a")
            try files.rename(folder + "/x", to: folder + "/b")
            try files.remove(folder + "/c")
            try files.open(folder + "/c", .create).write(bytes: [9], at: 0, durability: .power)
            try files.link(folder + "/a", to: folder + "/d")
            func content(_ files: any FileSystem) throws -> [String] {
                try files.list(folder).map { name in "\(name)=\(try files.readFile("\(folder)/\(name)") ?? [])" }
            }
            #expect(try content(restart()) == ["a=[97]", "b=[98]", "c=[99]"])
            let expected = ["a=[98]", "b=[97]", "c=[9]", "d=[98]"]
            #expect(try content(files) == expected)
            try files.syncDirectory(folder)
            #expect(try content(restart()) == expected)
            #expect(try content(files) == expected)
        }
    }

    @Test func aRenameBetweenFoldersIsDurableWhenEitherIsSynced() throws {
        for synced in ["from", "to"] {
            try withDisk { restart, folder in
                let files = restart()
                for name in ["from", "to"] { try files.createDirectory(folder + "/" + name) }
                try files.replaceFile(folder + "/from/file", with: [7])
                try files.rename(folder + "/from/file", to: folder + "/to/file")
                #expect(try restart().readFile(folder + "/from/file") == [7])
                try files.syncDirectory(folder + "/" + synced)
                #expect(try restart().readFile(folder + "/to/file") == [7])
                #expect(try restart().list(folder + "/from") == [])
            }
        }
    }

    @Test func replacedFilesAreOldOrNewWhereverTheProcessIsKilled() throws {
        try withDisk { restart, folder in
            let files = restart()
            try files.replaceFile(folder + "/file", with: [1, 1, 1])
            let file = try files.open(folder + "/file.tmp", .create)
            try file.write(bytes: [2, 2], at: 0)
            try file.sync()
            try files.rename(folder + "/file.tmp", to: folder + "/file")
            #expect(try restart().readFile(folder + "/file") == [1, 1, 1])
            try files.syncDirectory(folder)
            #expect(try restart().readFile(folder + "/file") == [2, 2])
            #expect(try restart().list(folder) == ["file"])
        }
    }

    @Test func faultsStrikeByCount() throws {
        try Backend.posix.withFolder { _, folder in
            func disk(_ text: String) throws -> any FileSystem {
                try #require(DiskFault(parsing: text)).wrap(PosixFileSystem(), folder: folder, seed: 1)
            }
            let full = try disk("disk-full=1")
            let file = try full.open(folder + "/full", .create)
            try file.write(bytes: [UInt8](repeating: 1, count: 1 << 20), at: 0)
            expectFailure(.noSpace) { try file.write(bytes: [1], at: 0) }
            #expect(try file.read(count: 1, at: 0) == [1])

            let once = try disk("sync-failure=2")
            let synced = try once.open(folder + "/synced", .create)
            try synced.sync()
            expectFailure(.device) { try synced.sync() }
            try synced.sync()

            let dead = try disk("disk-error=3")
            let last = try dead.open(folder + "/dead", .create)
            try last.write(bytes: [1], at: 0)
            for _ in 0..<3 { expectFailure(.device) { try last.write(bytes: [1], at: 0) } }
            expectFailure(.device) { _ = try dead.exists(folder) }

            let orders = try disk("disk-control")
            let ordered = try orders.open(folder + "/ordered", .create)
            let order = try PosixFileSystem().open(folder + "/disk-control", .create)
            try order.write(bytes: Array("full".utf8), at: 0)
            expectFailure(.noSpace) { try ordered.write(bytes: [1], at: 0) }
            try ordered.sync()
            try PosixFileSystem().remove(folder + "/disk-control")
            try ordered.write(bytes: [1], at: 0)
            #expect(DiskFault(parsing: "disk-control=3") == nil)

            for late in ["disk-slow=1", "disk-stall=1"] {
                let file = try disk(late).open(folder + "/" + late, .create)
                for _ in 0..<300 { try file.write(bytes: [5], at: 0) }
                try file.sync()
                #expect(try file.read(count: 9, at: 0) == [5])
            }
        }
    }

    @Test func wordsOfFaultsAreChecked() {
        #expect(DiskFault(parsing: "power-loss")?.description == "power-loss")
        #expect(DiskFault(parsing: "disk-stall=20")?.description == "disk-stall=20")
        #expect(DiskFault(parsing: "disk-full")?.amount == 64)
        for wrong in ["", "pull-plug", "power-loss=1", "disk-full=0", "disk-full=", "disk-slow=x", "disk-slow=-1"] {
            #expect(DiskFault(parsing: wrong) == nil, "\(wrong)")
        }
    }
}

@Suite struct SimulatedFaultTests {
    @Test func aMisdirectedWriteSucceedsAndLandsElsewhere() throws {
        let files = SimulatedFileSystem(seed: 1)
        let file = try files.open("file", .create)
        try file.write(bytes: [UInt8](repeating: 1, count: 2048), at: 0)
        files.misdirectNextWrite(pathSuffix: "file", bySectors: 2)
        try file.write(bytes: [9], at: 0)
        #expect(try file.read(count: 1, at: 0) == [1] && file.read(count: 1, at: 1024) == [9])
        try file.write(bytes: [8], at: 0)
        #expect(try file.read(count: 1, at: 0) == [8] && files.counters.misdirectedWrites == 1)
    }

    @Test func bitsFlipUnderReadsBySeed() throws {
        func run(_ seed: UInt64) throws -> [UInt8] {
            let files = SimulatedFileSystem(seed: seed)
            let file = try files.open("file", .create)
            try file.write(bytes: [UInt8](repeating: 0, count: 512), at: 0)
            files.flipBits(oneIn: 10)
            for _ in 0..<200 { _ = try file.read(count: 512, at: 0) }
            files.flipBits(oneIn: 0)
            let content = try file.read(count: 512, at: 0)
            #expect(files.counters.flippedBits > 5 && content.contains { $0 != 0 })
            return content
        }
        #expect(try run(3) == run(3))
        #expect(try run(3) != run(4))
    }

    @Test func anyCallMayFail() throws {
        let files = SimulatedFileSystem(seed: 5)
        try files.createDirectory("folder")
        files.failAnyCall(oneIn: 3)
        var failed = Set<FileIOError.Operation>()
        for number in 0..<400 {
            do throws(FileIOError) {
                let file = try files.open("folder/\(number)", .create)
                _ = try file.size()
                _ = try file.read(count: 1, at: 0)
                try file.write(bytes: [1], at: 0)
                try file.sync()
                try file.truncate(to: 0)
                try files.syncDirectory("folder")
                _ = try files.list("folder")
                try files.rename("folder/\(number)", to: "folder/x\(number)")
                try files.remove("folder/x\(number)")
            } catch {
                #expect(error.reason == .device)
                failed.insert(error.operation)
            }
        }
        #expect(failed.isSuperset(of: [.open, .size, .read, .write, .sync, .truncate, .syncDirectory, .list, .rename]))
    }

    @Test func latencyAndStallsAreCountedBySeed() throws {
        func run(_ seed: UInt64) throws -> UInt64 {
            let files = SimulatedFileSystem(seed: seed)
            let file = try files.open("file", .create)
            var latency = SimulatedLatency(transferNanoseconds: 100...200, syncNanoseconds: 1000...2000)
            latency.stallOneIn = 20
            latency.stallNanoseconds = 1_000_000
            files.latency = latency
            for _ in 0..<100 {
                try file.write(bytes: [1], at: 0)
                try file.sync()
            }
            let spent = files.counters.busyNanoseconds
            #expect(spent > 100 * 1100 + 1_000_000)
            return spent
        }
        #expect(try run(1) == run(1))
        #expect(try run(1) != run(2))
    }
}
