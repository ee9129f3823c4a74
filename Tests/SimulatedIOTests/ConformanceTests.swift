// What every backend owes its callers, checked on each of them in the same words.
import FileIO
import Glibc
import PosixIO
import SimulatedIO
import Testing
import UringIO

/// A backend to run a check on.
enum Backend: String, CaseIterable, CustomTestStringConvertible {
    case posix, simulated, uring
    /// POSIX behind a cache that dies with the process, and POSIX with a fault that never strikes.
    case powerLoss, faulty
    /// Every single operation through the ring.
    case uringAlone

    var testDescription: String { rawValue }

    private var realFileSystem: any FileSystem {
        guard self != .posix else { return PosixFileSystem() }
        if self == .faulty { return DiskFault(.full, amount: 1 << 20).wrap(PosixFileSystem(), folder: "", seed: 1) }
        var options = UringOptions()
        if self == .uringAlone { options.batchMin = 1 }
        return UringFileSystem(options)
    }

    /// Calls `body` with a file system and an empty folder on it, which is removed afterwards.
    func withFolder(_ body: (any FileSystem, String) throws -> Void) throws {
        switch self {
        case .simulated:
            let files = SimulatedFileSystem(seed: 1)
            try files.createDirectory("folder")
            try body(files, "folder")
        case .posix, .uring, .uringAlone, .powerLoss, .faulty:
            var template = Array((P_tmpdir + "/strata-io-XXXXXX").utf8CString)
            try #require(mkdtemp(&template) != nil)
            let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let files =
                self == .powerLoss
                ? DiskFault(.powerLoss).wrap(PosixFileSystem(), folder: folder, seed: 1) : realFileSystem
            defer { try? files.removeTree(folder) }
            try body(files, folder)
        }
    }
}

func expectFailure(
    _ reason: FileIOError.Reason, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
    let error = #expect(throws: FileIOError.self, sourceLocation: sourceLocation) { try body() }
    #expect(error?.reason == reason, sourceLocation: sourceLocation)
}

@Suite struct ConformanceTests {
    @Test(arguments: Backend.allCases)
    func openModes(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let path = folder + "/file"
            expectFailure(.notFound) { _ = try files.open(path, .read) }
            expectFailure(.notFound) { _ = try files.open(path, .readWrite) }
            expectFailure(.notFound) { _ = try files.open(folder + "/no/file", .create) }
            let file = try files.open(path, .create)
            #expect(file.path == path)
            expectFailure(.alreadyExists) { _ = try files.open(path, .create) }
            try file.write(bytes: [1, 2, 3], at: 0)
            #expect(try files.open(path, .createOrOpen).read(count: 9, at: 0) == [1, 2, 3])
            let reader = try files.open(path, .read)
            #expect(throws: FileIOError.self) { try reader.write(bytes: [4], at: 0) }
            #expect(try reader.read(count: 9, at: 0) == [1, 2, 3])
            expectFailure(.other) { _ = try files.open(folder, .read) }
        }
    }

    @Test(arguments: Backend.allCases)
    func readsEndAtTheEnd(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let file = try files.open(folder + "/file", .create)
            #expect(try file.size() == 0)
            #expect(try file.read(count: 4, at: 0).isEmpty)
            try file.write(bytes: Array(0..<10), at: 0)
            #expect(try file.read(count: 4, at: 8) == [8, 9])
            #expect(try file.read(count: 4, at: 10).isEmpty)
            #expect(try file.read(count: 4, at: 1 << 40).isEmpty)
            #expect(try file.read(count: 0, at: 0).isEmpty)
        }
    }

    @Test(arguments: Backend.allCases, [WriteDurability.process, .power])
    func manyBuffersAreOneWrite(backend: Backend, durability: WriteDurability) throws {
        try backend.withFolder { files, folder in
            let file = try files.open(folder + "/file", .create)
            // More buffers than one system call takes, some of them empty.
            for count in [0, 1, 3, 1023, 1024, 1025, 3000] {
                let parts = (0..<count).map { index in
                    [UInt8](repeating: UInt8(truncatingIfNeeded: index &* 7), count: index % 5)
                }
                let all = parts.flatMap { $0 }
                var buffers: [UnsafeRawBufferPointer] = []
                var memory: [UnsafeMutableRawBufferPointer] = []
                for part in parts {
                    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: part.count, alignment: 1)
                    copy.copyBytes(from: part)
                    memory.append(copy)
                    buffers.append(UnsafeRawBufferPointer(copy))
                }
                defer { memory.forEach { $0.deallocate() } }
                try file.write(buffers, at: 100, durability: durability)
                #expect(try file.read(count: all.count, at: 100) == all)
            }
            #expect(try file.read(count: 100, at: 0) == [UInt8](repeating: 0, count: 100))
        }
    }

    @Test(arguments: Backend.allCases)
    func writesBehindTheEndLeaveZeros(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let file = try files.open(folder + "/file", .create)
            try file.write(bytes: [9], at: 5000)
            #expect(try file.size() == 5001)
            #expect(try file.read(count: 5000, at: 0).allSatisfy { $0 == 0 })
            expectFailure(.other) { try file.write(bytes: [1], at: .max) }
        }
    }

    @Test(arguments: Backend.allCases)
    func truncationAndZeroFill(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let file = try files.open(folder + "/file", .create)
            try file.write(bytes: [UInt8](repeating: 7, count: 3000), at: 0)
            try file.truncate(to: 1000)
            try file.truncate(to: 2000)
            #expect(try file.size() == 2000)
            #expect(
                try file.read(count: 9999, at: 990) == .init(repeating: 7, count: 10) + .init(repeating: 0, count: 1000)
            )
            try file.zeroFill(at: 500, count: 2_500_000)
            #expect(try file.size() == 2_500_500)
            #expect(try file.read(count: 10, at: 495) == [7, 7, 7, 7, 7, 0, 0, 0, 0, 0])
            try file.zeroFill(at: 0, count: 0)
            try file.sync()
            #expect(try file.size() == 2_500_500)
        }
    }

    @Test(arguments: Backend.allCases)
    func namesAndDirectories(backend: Backend) throws {
        try backend.withFolder { files, folder in
            try files.createDirectory(folder + "/a/b/c")
            try files.createDirectory(folder + "/a/b/c")
            for name in ["zeta", "Alpha", "alpha", "\u{e9}t\u{e9}", "10", "9"] {
                try files.open(folder + "/a/" + name, .create).write(bytes: Array(name.utf8), at: 0)
            }
            #expect(try files.list(folder + "/a") == ["10", "9", "Alpha", "alpha", "b", "zeta", "\u{e9}t\u{e9}"])
            #expect(try files.list(folder + "/a/b/c").isEmpty)
            expectFailure(.notFound) { _ = try files.list(folder + "/none") }
            expectFailure(.alreadyExists) { try files.createDirectory(folder + "/a/zeta") }
            #expect(
                try files.exists(folder + "/a/b") && !files.exists(folder + "/a/x") && files.exists(folder + "/a/9"))
            #expect(try !files.exists(folder + "/a/9/below"))

            try files.rename(folder + "/a/9", to: folder + "/a/10")
            #expect(try files.readFile(folder + "/a/10") == Array("9".utf8))
            #expect(try files.readFile(folder + "/a/9") == nil)
            try files.rename(folder + "/a/10", to: folder + "/a/b/ten")
            #expect(try files.readFile(folder + "/a/b/ten") == Array("9".utf8))
            expectFailure(.notFound) { try files.rename(folder + "/a/10", to: folder + "/a/11") }

            try files.link(folder + "/a/zeta", to: folder + "/a/eta")
            expectFailure(.alreadyExists) { try files.link(folder + "/a/zeta", to: folder + "/a/alpha") }
            try files.remove(folder + "/a/zeta")
            #expect(try files.readFile(folder + "/a/eta") == Array("zeta".utf8))
            expectFailure(.notFound) { try files.remove(folder + "/a/zeta") }
            expectFailure(.other) { try files.remove(folder + "/a/b") }

            try files.syncDirectory(folder + "/a")
            expectFailure(.notFound) { try files.syncDirectory(folder + "/none") }
            try files.removeTree(folder + "/a")
            try files.removeTree(folder + "/a")
            #expect(try files.list(folder).isEmpty)
        }
    }

    @Test(arguments: Backend.allCases)
    func anOpenFileOutlivesItsName(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let file = try files.open(folder + "/file", .create)
            try file.write(bytes: [1, 2, 3], at: 0)
            try files.remove(folder + "/file")
            try files.syncDirectory(folder)
            try files.open(folder + "/file", .create).write(bytes: [9], at: 0)
            #expect(try file.read(count: 9, at: 0) == [1, 2, 3])
            try file.write(bytes: [4], at: 3, durability: .power)
            #expect(try file.size() == 4)
        }
    }

    @Test(arguments: Backend.allCases)
    func smallFilesAreReplacedWhole(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let path = folder + "/file"
            #expect(try files.readFile(path) == nil)
            try files.replaceFile(path, with: [1, 2, 3])
            try files.open(path + ".tmp", .create).write(bytes: [0, 0, 0, 0, 0], at: 0)
            try files.replaceFile(path, with: [4])
            #expect(try files.readFile(path) == [4])
            #expect(try files.list(folder) == ["file"])
        }
    }

    @Test(arguments: Backend.allCases)
    func oneLockAtATime(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let lock = try files.lock(folder)
            expectFailure(.locked) { _ = try files.lock(folder) }
            lock.release()
            lock.release()
            let again = try files.lock(folder)
            expectFailure(.locked) { _ = try files.lock(folder) }
            again.release()
            #expect(try files.list(folder) == ["LOCK"])
            expectFailure(.notFound) { _ = try files.lock(folder + "/none") }
        }
    }

    @Test(arguments: Backend.allCases)
    func reservedSpaceReadsAsZeros(backend: Backend) throws {
        try backend.withFolder { files, folder in
            let file = try files.open(folder + "/file", .create)
            try file.write(bytes: [1, 2, 3], at: 0)
            try file.reserve(at: 0, count: 10)
            #expect(try file.read(count: 20, at: 0) == [1, 2, 3, 0, 0, 0, 0, 0, 0, 0])
            try file.reserve(at: 2, count: 4)
            try file.reserve(at: 5, count: 0)
            #expect(try file.size() == 10)
            let reader = try files.open(folder + "/file", .read)
            #expect(throws: FileIOError.self) { try reader.reserve(at: 0, count: 100) }
        }
    }
}
