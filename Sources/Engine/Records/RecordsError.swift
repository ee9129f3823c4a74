// The one error of the record codec: what is wrong with some bytes, where, and what to do.

/// Bytes that are not a record batch, or not one that can be read here.
public struct RecordsError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: Sendable, Hashable {
        /// Too short, wrong lengths, or counts that contradict each other.
        case malformed
        /// The batch was damaged on its way: its CRC-32C does not hold.
        case checksum
        /// A batch of another format version than 2.
        case unsupportedVersion
        /// The records are compressed; the batch is stored and served as it is, but its records can't be read here.
        case compressed
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
