// What the storage tests do to the simulated disk, in words.
import FileIO
import SimulatedIO

extension SimulatedFileSystem {
    /// Replaces a file's content as if it had always been so.
    func setBytes(_ path: String, _ bytes: [UInt8]) throws {
        let file = try open(path, .createOrOpen)
        try file.truncate(to: 0)
        try file.write(bytes: bytes, at: 0)
        try file.sync()
        try syncDirectory(directory(of: path))
    }

    func bytes(_ path: String) throws -> [UInt8] { try readFile(path) ?? [] }

    /// Paths of the files in a folder whose names end so.
    func files(in folder: String, suffix: String = "") throws -> [String] {
        try list(folder).filter { $0.hasSuffix(suffix) }.map { folder + "/" + $0 }
    }
}
