// The one error of the log: what happened, where in which file, and what a person can do about it.
public import FileIO

/// A failed operation on a log or on a hard state file.
public struct SegmentedLogError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: Sendable, Hashable {
        /// Bytes that were durable are not what was written. Never repaired by guessing.
        case corruption
        /// The log is missing, or holds less than what was recorded as durable: its files were deleted, cut or
        /// replaced.
        case incomplete
        /// Bytes from outside (a peer, a caller) are not a sequence of frames.
        case invalidFrames
        /// The batch does not continue the log (index, term or offset).
        case notContiguous
        /// A frame or a segment would exceed its limit.
        case tooLarge
        /// The log does not hold that index or offset: trimmed away, or not written yet.
        case outOfRange
        /// Written by a newer version, or opened with other options than it was made with.
        case unsupported
        /// An earlier write or sync failed, so nothing is known about the file any more.
        case poisoned
        /// The disk refused; see `cause`.
        case disk
    }

    /// Files are gone, cut, replaced or altered; nothing that the disk said.
    public var isDamage: Bool { code == .corruption || code == .incomplete }

    public var code: Code
    public var message: String
    /// The file, empty when the error is about bytes in memory.
    public var path: String
    /// Position in the file or in the bytes given.
    public var offset: UInt64?
    public var cause: FileIOError?

    public init(_ code: Code, _ message: String, path: String = "", offset: UInt64? = nil, cause: FileIOError? = nil) {
        self.code = code
        self.message = message
        self.path = path
        self.offset = offset
        self.cause = cause
    }

    public var description: String {
        if let cause { return message.isEmpty ? cause.description : "\(message): \(cause)" }
        var place = path
        if let offset { place += (place.isEmpty ? "byte " : " at byte ") + String(offset) }
        return place.isEmpty ? message : "\(place): \(message)"
    }
}

/// Runs a disk operation and turns its error into the log's.
func onDisk<Result>(_ operation: () throws(FileIOError) -> Result) throws(SegmentedLogError) -> Result {
    do throws(FileIOError) {
        return try operation()
    } catch {
        throw SegmentedLogError(.disk, "", path: error.path, cause: error)
    }
}
