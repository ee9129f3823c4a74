// Lines from a pipe: cut anywhere, with and without a last line feed, empty ones kept.
import Foundation
import Testing

@testable import Server

@Suite struct StandardInputTests {
    private func lines(_ pieces: [String]) async throws -> [String] {
        let pipe = Pipe()
        let input = StandardInput(descriptor: pipe.fileHandleForReading.fileDescriptor)
        let writer = pipe.fileHandleForWriting
        let writing = Task.detached {
            for piece in pieces {
                try writer.write(contentsOf: Data(piece.utf8))
                try await Task.sleep(for: .milliseconds(2))
            }
            try writer.close()
        }
        var lines: [String] = []
        while let batch = try await input.nextLines() { lines += batch.map { String(decoding: $0, as: UTF8.self) } }
        try await writing.value
        try pipe.fileHandleForReading.close()
        return lines
    }

    @Test(arguments: [
        ([], []),
        (["a\nb\n"], ["a", "b"]),
        (["a\nb"], ["a", "b"]),
        (["\n\na\n"], ["", "", "a"]),
        (["a", "b\nc", "\n", "\nd"], ["ab", "c", "", "d"]),
    ])
    func cutAnywhere(_ pieces: [String], _ expected: [String]) async throws {
        let received = try await lines(pieces)
        #expect(received == expected)
    }

    @Test func aLineThatIsTooLongIsRefused() async {
        await #expect(throws: CommandError.self) {
            _ = try await lines([String(repeating: "x", count: StandardInput.lineBytesMax + 1)])
        }
    }
}
