// The one error of the record codec: what is wrong with some bytes, where, and what to do.

/// Bytes that are not a record batch, or not one that can be read here.
public struct RecordsError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: Sendable, Hashable {
        /// Too short, or cut off: bytes were lost on their way.
        case malformed
        /// The batch was damaged on its way: its CRC-32C does not hold.
        case checksum
        /// A batch of another format version than 2.
        case unsupportedVersion
        /// The bytes are as they were sent, and the records are not what the header says.
        case invalidRecord
        /// The attributes say what a producer may not say.
        case notAllowed
        /// The records are compressed and can't be decompressed: an unknown codec, damage, or more bytes than are
        /// allowed.
        case compressed

        /// True when bytes were lost or changed on their way, so that sending them again may help.
        public var isDamage: Bool { self == .malformed || self == .checksum }
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
