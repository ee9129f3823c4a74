// The bounds of the RESP front end. Every queue and every length that a client can make grow is named here.
import KeyValue

/// Limits of one RESP connection and of the listener.
enum RESPLimits {
    /// One line of plain text: an inline command or the header of an array or a bulk string.
    static let lineBytesMax = 64 * 1024
    /// Elements of one command, as in Redis.
    static let argumentsMax = 1024 * 1024
    static let bulkBytesMax = KeyValueLimits.valueBytesMax
    /// All of one command: the largest SET, and slack for a long DEL.
    static let commandBytesMax = KeyValueLimits.valueBytesMax + 1024 * 1024
    /// Keys of one DEL; each costs a read and a write.
    static let keysPerDeleteMax = KeyValueLimits.keysPerDeleteMax
    /// Names or patterns that `CONFIG GET` and `COMMAND INFO` look at.
    static let namesMax = 128
    /// One pattern of `CONFIG GET`.
    static let patternBytesMax = 256
    /// What a client calls itself (`CLIENT SETNAME`, `SETINFO`, `HELLO SETNAME`).
    static let clientNameBytesMax = 1024
    /// Requests of one connection without a written answer; at this many the server stops reading from the socket.
    static let pipelinedRequestsMax = 1024
    /// Bytes of keys and values that one connection may have in flight before the server stops reading.
    static let pipelinedBytesMax = 32 * 1024 * 1024
    /// Bytes of answers that wait for an earlier one before the server stops starting requests.
    static let heldReplyBytesMax = 64 * 1024 * 1024
    /// Open connections; the next one is told so and closed.
    static let connectionsMax = 10_000
    /// A parser's buffer that grew beyond this for one big value is given back when it's empty.
    static let idleBufferBytesMax = 1024 * 1024
    /// After the last answer the server waits this long for the client to close first, so that no answer is lost to a
    /// reset.
    static let lingerMillisecondsMax: Int64 = 1000
    /// The same while the server shuts down.
    static let shutdownLingerMillisecondsMax: Int64 = 100
    /// How long the store may take for the oldest request before the connection is told that its fate is unknown; also
    /// how long a client may take to read the last answers.
    static let answerMillisecondsMax: Int64 = 15_000
    /// Bytes of answers that are gathered into one write.
    static let outputBytesMax = 1024 * 1024
    /// How long `close()` waits for requests in flight.
    static let shutdownMillisecondsMax: Int64 = 5000
}
