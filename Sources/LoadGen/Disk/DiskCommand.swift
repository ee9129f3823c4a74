// The command line of `LoadGen disk`: one pattern of disk I/O through one backend of Strata's, to be held against what
// fio does with the same pattern. Everything is checked here, before a file is touched.
import ArgumentParser
import FileIO
import LabKit
import UringIO

/// What is done to the file.
enum DiskPattern: String, ExpressibleByArgument, CaseIterable {
    /// Blocks at random places of a file that was written before.
    case randread
    /// Blocks one behind the other, each durable before the next.
    case append
}

/// What the file of an append is at the start.
enum DiskFileState: String, ExpressibleByArgument, CaseIterable {
    /// Empty: each append makes the file longer.
    case growing
    /// As long as needed, its blocks reserved but never written.
    case preallocated
    /// Written before.
    case recycled
}

struct DiskCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disk", abstract: "Measures one pattern of disk I/O through a backend, for comparison with fio.")

    @Argument(help: "randread or append.")
    var pattern: DiskPattern

    @Option(help: "The backend: posix, uring or auto.", transform: SwitchWord.io)
    var io = IOBackendKind.posix

    @Flag(help: "Past the page cache (O_DIRECT).")
    var direct = false

    @Option(help: "Requests in flight at a time; only a batching backend has more than one.")
    var depth = 1

    @Option(help: "Requests that one system call hands to the ring.")
    var perEnter = 1

    @Option(help: "Bytes of a request.")
    var blockSize = 4096

    @Option(help: "Bytes of the file, of all --logs together.")
    var fileSize = 512 << 20

    @Option(help: "The file of an append at the start: growing, preallocated or recycled.")
    var file = DiskFileState.recycled

    @Option(help: "Logs that an append adds a block to in each turn, all of them given to the backend at once.")
    var logs = 1

    @Flag(help: "Append with one durable write (RWF_DSYNC) in place of a write and a sync.")
    var dsync = false

    @Flag(help: "Send lone operations through the ring too.")
    var ringAlone = false

    @Option(help: "Seconds to measure.")
    var seconds = 5.0

    @Option(help: "Seed of the places.")
    var seed: UInt64 = 1

    @Option(help: "Folder of the file (default: one of its own, removed).")
    var folder = ".bench-data"

    func check() throws(LoadGenError) {
        let block = FileCaching.alignmentBytes
        guard blockSize >= 1, blockSize <= 1 << 24 else {
            throw LoadGenError.usage("--block-size must be between 1 and \(1 << 24)")
        }
        if direct, blockSize % block != 0 {
            throw LoadGenError.usage("--direct needs a --block-size that is a multiple of \(block)")
        }
        guard fileSize >= blockSize, fileSize <= 1 << 38 else {
            throw LoadGenError.usage("--file-size must be between --block-size and \(1 << 38)")
        }
        guard depth >= 1, depth <= 256 else { throw LoadGenError.usage("--depth must be between 1 and 256") }
        guard perEnter >= 1, perEnter <= 256 else { throw LoadGenError.usage("--per-enter must be between 1 and 256") }
        guard pattern == .randread || depth == 1 else {
            throw LoadGenError.usage("append waits for each block before the next: leave --depth out")
        }
        guard logs >= 1, logs <= 256 else { throw LoadGenError.usage("--logs must be between 1 and 256") }
        guard pattern == .append || logs == 1 else { throw LoadGenError.usage("--logs is for append") }
        guard fileSize / logs >= blockSize else {
            throw LoadGenError.usage("--file-size is for all --logs together: each needs room for --block-size")
        }
        guard seconds >= 0.1, seconds <= 600 else {
            throw LoadGenError.usage("--seconds must be between 0.1 and 600")
        }
    }
}
