// One bit of one file of a node that is down, flipped and flipped back. Only files whose every byte is covered by a
// checksum are chosen, and of logs not the last bytes: a damaged last frame can't be told from a torn one.
import Foundation
import Glibc
import LabKit

struct BitFlip: Hashable, Sendable {
    let path: String
    let position: UInt64
    let mask: UInt8
    /// The bytes around it as they were; a file that has changed there since is left alone.
    private let neighbours: [UInt8]
    private let start: UInt64

    private static let neighbourBytes: UInt64 = 32
    private static let sparedBytes: UInt64 = 16_384
    private static let suffixes = [".log", ".sst"]

    var name: String { path.split(separator: "/").suffix(2).joined(separator: "/") }

    /// Nil when no file below `folder` is large enough.
    static func choose(in folder: String, _ random: inout SeededRandom) -> BitFlip? {
        let names = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        let files = names.filter { name in suffixes.contains { name.hasSuffix($0) } }.sorted()
            .map { (path: folder + "/" + $0, size: size(folder + "/" + $0)) }
            .filter { $0.size > 2 * sparedBytes }
        guard !files.isEmpty else { return nil }
        let file = files[random.below(files.count)]
        let position = UInt64(random.below(Int(file.size - sparedBytes)))
        let start = position - min(position, neighbourBytes)
        guard let bytes = read(file.path, start, Int(2 * neighbourBytes)) else { return nil }
        return BitFlip(
            path: file.path, position: position, mask: 1 << UInt8(random.below(8)), neighbours: bytes, start: start)
    }

    func apply() throws(LoadGenError) {
        try write(neighbours[Int(position - start)] ^ mask)
    }

    /// - Returns: false when the file is gone or has been written to since.
    func revert() throws(LoadGenError) -> Bool {
        var damaged = neighbours
        damaged[Int(position - start)] ^= mask
        guard BitFlip.read(path, start, neighbours.count) == damaged else { return false }
        try write(neighbours[Int(position - start)])
        return true
    }

    private func write(_ byte: UInt8) throws(LoadGenError) {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LoadGenError.failed("can't open \(path): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var byte = byte
        guard pwrite(descriptor, &byte, 1, off_t(position)) == 1, fsync(descriptor) == 0 else {
            throw LoadGenError.failed("can't write \(path): \(String(cString: strerror(errno)))")
        }
    }

    private static func size(_ path: String) -> UInt64 {
        var facts = stat()
        return stat(path, &facts) == 0 ? UInt64(facts.st_size) : 0
    }

    private static func read(_ path: String, _ position: UInt64, _ count: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: count)
        return pread(descriptor, &bytes, count, off_t(position)) == count ? bytes : nil
    }
}
