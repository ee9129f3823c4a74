// The simulated disk's own promises: what was synced survives a crash, what was not may be anything in between, and the
// same seed gives the same outcome.
import FileIO
import SimulatedIO
import Testing

@Suite struct CrashTests {
    @Test func syncedBytesSurviveAndUnsyncedOnesAreOldOrNew() throws {
        var sectorsOld = 0
        var sectorsNew = 0
        var tornFiles = 0
        for seed in 0..<200 as Range<UInt64> {
            let files = SimulatedFileSystem(seed: seed)
            let file = try files.open("file", .create)
            try files.syncDirectory(".")
            try file.write(bytes: [UInt8](repeating: 1, count: 8192), at: 0)
            try file.sync()
            try file.write(bytes: [UInt8](repeating: 2, count: 4096), at: 4096)
            files.crash()
            let content = try #require(try files.readFile("file"), "seed \(seed)")
            #expect(content.count == 8192, "seed \(seed)")
            #expect(content.prefix(4096).allSatisfy { $0 == 1 }, "seed \(seed)")
            for sector in 8..<16 {
                let bytes = content[sector * 512..<(sector + 1) * 512]
                let news = bytes.count { $0 == 2 }
                #expect(news + bytes.count { $0 == 1 } == 512, "seed \(seed)")
                sectorsOld += news == 0 ? 1 : 0
                sectorsNew += news == 512 ? 1 : 0
                tornFiles += news > 0 && news < 512 ? 1 : 0
            }
        }
        #expect(sectorsOld > 200 && sectorsNew > 200 && tornFiles > 50)
    }

    @Test func durableWritesCoverThemselvesOnly() throws {
        var lost = 0
        for seed in 0..<50 as Range<UInt64> {
            let files = SimulatedFileSystem(seed: seed)
            let file = try files.open("file", .create)
            try files.syncDirectory("/")
            try file.write(bytes: [UInt8](repeating: 1, count: 512), at: 0)
            try file.write(bytes: [UInt8](repeating: 2, count: 512), at: 512, durability: .power)
            files.crash()
            let content = try #require(try files.readFile("file"))
            #expect(content.count == 1024 && content[512...].allSatisfy { $0 == 2 }, "seed \(seed)")
            lost += content[..<512].contains(0) ? 1 : 0
        }
        #expect(lost > 0)
    }

    @Test func namesNeedTheirDirectorySynced() throws {
        var outcomes: [Bool] = []
        for seed in 0..<100 as Range<UInt64> {
            let files = SimulatedFileSystem(seed: seed)
            try files.createDirectory("folder")
            try files.syncDirectory(".")
            let kept = try files.open("folder/kept", .create)
            try kept.write(bytes: [1], at: 0)
            try kept.sync()
            try files.syncDirectory("folder")
            try files.open("folder/new", .create).sync()
            try files.rename("folder/kept", to: "folder/renamed")
            files.crash()
            let names = try files.list("folder")
            #expect(names.contains("kept") != names.contains("renamed"), "seed \(seed)")
            #expect(try files.readFile("folder/" + (names.contains("kept") ? "kept" : "renamed")) == [1])
            outcomes.append(names.contains("new"))
            outcomes.append(names.contains("kept"))
        }
        #expect(outcomes.contains(true) && outcomes.contains(false))
    }

    @Test func replacedFilesAreOldOrNewNeverMixed() throws {
        for seed in 0..<100 as Range<UInt64> {
            for cut in 1..<8 {
                let files = SimulatedFileSystem(seed: seed)
                try files.replaceFile("file", with: [UInt8](repeating: 1, count: 3000))
                files.cutPower(afterChanges: cut)
                let isDone = (try? files.replaceFile("file", with: [UInt8](repeating: 2, count: 2000))) != nil
                files.crash()
                let content = try #require(try files.readFile("file"))
                let isOld = content == [UInt8](repeating: 1, count: 3000)
                let isNew = content == [UInt8](repeating: 2, count: 2000)
                #expect(isNew || (isOld && !isDone), "seed \(seed), cut \(cut)")
            }
        }
    }

    @Test func handlesAndLocksDieInACrash() throws {
        let files = SimulatedFileSystem(seed: 7)
        try files.createDirectory("folder")
        try files.syncDirectory(".")
        let lock = try files.lock("folder")
        let file = try files.open("folder/file", .create)
        files.crash()
        #expect(throws: FileIOError.self) { try file.read(count: 1, at: 0) }
        #expect(throws: FileIOError.self) { try file.write(bytes: [1], at: 0) }
        #expect(throws: FileIOError.self) { try file.sync() }
        let again = try files.lock("folder")
        lock.release()
        #expect(throws: FileIOError.self) { try files.lock("folder") }
        again.release()
    }

    @Test func aFailedSyncLosesTheDataForGood() throws {
        for seed in 0..<30 as Range<UInt64> {
            let files = SimulatedFileSystem(seed: seed)
            let file = try files.open("file", .create)
            try files.syncDirectory(".")
            try file.write(bytes: [UInt8](repeating: 1, count: 600), at: 0)
            try file.sync()
            try file.write(bytes: [UInt8](repeating: 2, count: 600), at: 0)
            files.failNext(operation: .sync, reason: .device)
            #expect(throws: FileIOError.self) { try file.sync() }
            #expect(try file.read(count: 600, at: 0) == [UInt8](repeating: 2, count: 600))
            try file.sync()
            files.crash()
            #expect(try files.readFile("file") == [UInt8](repeating: 1, count: 600), "seed \(seed)")
        }
    }

    @Test func plannedFaultsAndLimitsStrike() throws {
        let files = SimulatedFileSystem(seed: 3)
        let file = try files.open("file", .create)
        files.failNext(operation: .write, reason: .device, after: 2, pathSuffix: "file")
        try file.write(bytes: [1], at: 0)
        try file.write(bytes: [1], at: 1)
        let error = #expect(throws: FileIOError.self) { try file.write(bytes: [1], at: 2) }
        #expect(error?.reason == .device)
        try file.write(bytes: [1], at: 2)

        files.capacityBytes = 10
        let full = #expect(throws: FileIOError.self) { try file.write(bytes: .init(repeating: 5, count: 20), at: 0) }
        #expect(full?.reason == .noSpace)
        #expect(try file.size() <= 10)
        files.capacityBytes = nil
        try file.write(bytes: .init(repeating: 5, count: 20), at: 0)

        files.ignoresSyncs = true
        try file.sync()
        #expect(files.counters.syncs == 1 && files.counters.writes == 6)
        try files.damage("file", at: 4, mask: 0x0F)
        #expect(try file.read(count: 2, at: 4) == [5 ^ 0x0F, 5])
    }

    @Test func theSameSeedGivesTheSameOutcome() throws {
        func run(_ seed: UInt64) throws -> [[UInt8]?] {
            let files = SimulatedFileSystem(seed: seed)
            for index in 0..<20 {
                let file = try files.open("file\(index)", .create)
                try file.write(bytes: [UInt8](repeating: UInt8(index), count: 3000), at: 0)
                if index % 3 == 0 { try file.sync() }
                if index % 7 == 0 { try files.syncDirectory(".") }
            }
            files.crash()
            return try (0..<20).map { try files.readFile("file\($0)") }
        }
        for seed in 0..<20 as Range<UInt64> {
            #expect(try run(seed) == run(seed))
        }
        #expect(try run(1) != run(2))
    }
}
