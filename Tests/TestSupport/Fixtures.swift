// Golden files: what a released build wrote, kept in Tests/Fixtures so that every later build proves that it still
// reads it. They are rewritten only when somebody asks for it, never by a test run as such.
import Foundation

/// A folder of golden files.
public struct Fixture {
    public let path: String

    /// True with STRATA_REWRITE_FIXTURES=1: tests write what they would read, then read it.
    public static var isRewriting: Bool { ProcessInfo.processInfo.environment["STRATA_REWRITE_FIXTURES"] == "1" }
    /// Bytes of one golden file at most, so that the repository stays small.
    public static let fileBytesMax = 20 << 10

    public init(_ name: String) {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        path = tests.appendingPathComponent("Fixtures").appendingPathComponent(name).path
    }

    /// Golden files in any folder.
    public init(path: String) {
        self.path = path
    }

    /// Names and content of the folder's files, sorted by name.
    public func load() throws -> [(name: String, bytes: [UInt8])] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted().map { name in
            (name, Array(try Data(contentsOf: URL(fileURLWithPath: path + "/" + name))))
        }
    }

    /// Replaces the folder's content.
    public func save(_ files: [(name: String, bytes: [UInt8])]) throws {
        for file in files where file.bytes.count > Self.fileBytesMax {
            throw TestFailure("the golden file \(file.name) has \(file.bytes.count) bytes; make a smaller one")
        }
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for file in files { try Data(file.bytes).write(to: URL(fileURLWithPath: path + "/" + file.name)) }
    }
}
