// What only the real backend has: the kernel's words, descriptors, and the owner of a lock. What it shares with every
// other backend is in the conformance suite.
import FileIO
import Glibc
import PosixIO
import Testing

/// Calls `body` with an empty folder, which is removed afterwards.
func withTemporaryFolder(_ body: (PosixFileSystem, String) throws -> Void) throws {
    var template = Array((P_tmpdir + "/strata-io-XXXXXX").utf8CString)
    try #require(mkdtemp(&template) != nil)
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let files = PosixFileSystem()
    defer { try? files.removeTree(folder) }
    try body(files, folder)
}

@Suite struct PosixTests {
    @Test func theLockNamesItsOwner() throws {
        try withTemporaryFolder { files, folder in
            let lock = try files.lock(folder)
            let error = #expect(throws: FileIOError.self) { try files.lock(folder) }
            #expect(error?.detail.contains("process \(getpid())") == true)
            lock.release()
        }
    }

    @Test func kernelReasonsAreTold() throws {
        try withTemporaryFolder { files, folder in
            let error = #expect(throws: FileIOError.self) { try files.open(folder + "/none", .read) }
            #expect(error?.errno == ENOENT && error?.detail == "No such file or directory")
            // A full device that every Linux has.
            let full = try files.open("/dev/full", .readWrite)
            let refused = #expect(throws: FileIOError.self) { try full.write(bytes: [1], at: 0) }
            #expect(refused?.reason == .noSpace)
        }
    }

    @Test func descriptorsAreClosed() throws {
        try withTemporaryFolder { files, folder in
            let before = try files.list("/proc/self/fd").count
            for _ in 0..<100 {
                let file = try files.open(folder + "/file", .createOrOpen)
                try file.write(bytes: [1], at: 0)
                try files.syncDirectory(folder)
                _ = try? files.open(folder, .read)
                try files.lock(folder).release()
            }
            // Other tests run beside this one and may hold a few.
            #expect(try files.list("/proc/self/fd").count < before + 50)
        }
    }
}
