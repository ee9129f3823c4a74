// Standard input and output for the commands: whole lines of bytes in, records out, without making text of either.
// Reading blocks, so it is done off Swift's thread pool; writing is flushed record by record, because someone may be
// watching.
import Dispatch
import Glibc

/// Lines from standard input.
///
/// One reader; a call must have ended before the next begins.
actor StandardInput {
    static let lineBytesMax = 1024 * 1024
    private static let readBytes = 64 * 1024

    private let descriptor: Int32
    private let queue = DispatchQueue(label: "standard input")
    private var partial: [UInt8] = []
    private var isAtEnd = false

    init(descriptor: Int32 = STDIN_FILENO) {
        self.descriptor = descriptor
    }

    /// The lines that one read completes, without their line feeds: many from a file, one from a keyboard; nil at the
    /// end.
    /// - Throws: `CommandError` when a line is too long, or reading fails.
    func nextLines() async throws -> [[UInt8]]? {
        while !isAtEnd {
            let received = try await read()
            guard !received.isEmpty else {
                isAtEnd = true
                defer { partial = [] }
                return partial.isEmpty ? nil : [partial]
            }
            var lines: [[UInt8]] = []
            for piece in received.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
                // Every piece but the first has a line feed in front of it.
                if piece.startIndex != received.startIndex {
                    lines.append(partial)
                    partial = []
                }
                partial += piece
                guard partial.count <= Self.lineBytesMax else {
                    throw CommandError.failed(
                        "a line of standard input has more than \(Self.lineBytesMax) bytes; send shorter records")
                }
            }
            if !lines.isEmpty { return lines }
        }
        return nil
    }

    private func read() async throws -> [UInt8] {
        let descriptor = descriptor
        return try await withCheckedThrowingContinuation { continuation in
            queue.async {
                var buffer = [UInt8](repeating: 0, count: Self.readBytes)
                while true {
                    let count = Glibc.read(descriptor, &buffer, buffer.count)
                    if count >= 0 { return continuation.resume(returning: Array(buffer[..<count])) }
                    guard errno == EINTR else {
                        let reason = String(cString: strerror(errno))
                        return continuation.resume(
                            throwing: CommandError.failed("standard input can't be read: \(reason)"))
                    }
                }
            }
        }
    }
}

/// Standard output, one line of bytes at a time.
enum StandardOutput {
    /// Writes and flushes a line. False when nobody reads any more, as behind `head`.
    @discardableResult
    static func write(_ line: [UInt8]) -> Bool {
        var line = line
        line.append(UInt8(ascii: "\n"))
        return line.withUnsafeBytes { bytes in
            var written = 0
            while written < bytes.count {
                let count = Glibc.write(STDOUT_FILENO, bytes.baseAddress! + written, bytes.count - written)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return false }
                written += count
            }
            return true
        }
    }

    @discardableResult
    static func write(_ line: String) -> Bool {
        write(Array(line.utf8))
    }
}
