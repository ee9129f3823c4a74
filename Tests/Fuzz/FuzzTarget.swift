// One parser under test, and what those of files need: golden files as inputs and a disk in memory to put them on.
// Parsers of files are in Parsers, those of bytes from a socket in Network.
import FileIO
import SimulatedIO
import TestSupport

struct FuzzTarget {
    let name: String
    /// Makes one damaged input and reads it; throws when the parser refuses it.
    let attempt: (inout Mutator) throws -> Void

    static func all(_ fixtures: String) throws -> [FuzzTarget] {
        let corpus = try Corpus(fixtures)
        return try treeTargets(corpus) + logTargets(corpus) + hashLogTargets(corpus) + segmentTargets(corpus)
            + identityTargets(corpus) + recordTargets() + peerTargets() + nodeTargets() + commandTargets()
            + serverTargets()
            + streamTargets() + jsonTargets()
    }
}

/// A parser said no in a way that is no error of its own.
struct Refused: Error {}

/// The golden files.
struct Corpus {
    typealias Folder = [(name: String, bytes: [UInt8])]
    private let folder: String

    init(_ folder: String) throws {
        self.folder = folder
    }

    func load(_ name: String) throws -> Folder {
        try Fixture(path: folder + "/" + name).load()
    }
}

/// A disk that holds files in a folder `data`; for files of folders below it the names say so as `folder-name`.
func disk(_ files: Corpus.Folder, folders: [String] = []) throws -> SimulatedFileSystem {
    let system = SimulatedFileSystem(seed: 1)
    for folder in folders + [""] { try system.createDirectory("data/" + folder) }
    for file in files {
        var path = "data/" + file.name
        for folder in folders where file.name.hasPrefix(folder + "-") {
            path = "data/\(folder)/\(file.name.dropFirst(folder.count + 1))"
        }
        try system.open(path, .create).write(bytes: file.bytes, at: 0)
    }
    return system
}
