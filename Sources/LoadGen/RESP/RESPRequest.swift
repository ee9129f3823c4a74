// Requests of the Redis protocol, written straight into a connection's buffer.

/// Writes commands as RESP arrays.
struct RESPRequest {
    private let buffer: UnsafeMutableRawBufferPointer
    private(set) var byteCount = 0

    /// Room for every byte of framing that a command of three arguments needs, beside the arguments.
    static let overheadBytes = 96

    init(into buffer: UnsafeMutableRawBufferPointer) {
        self.buffer = buffer
    }

    /// `SET key value`; `key` and `value` fill their regions of the buffer themselves.
    static func set(
        into buffer: UnsafeMutableRawBufferPointer, keyCount: Int, valueCount: Int,
        key: (UnsafeMutableRawBufferPointer) -> Void, value: (UnsafeMutableRawBufferPointer) -> Void
    ) -> Int {
        var request = RESPRequest(into: buffer)
        request.text("*3\r\n$3\r\nSET\r\n")
        request.bulk(keyCount, key)
        request.bulk(valueCount, value)
        return request.byteCount
    }

    /// `GET key`
    static func get(
        into buffer: UnsafeMutableRawBufferPointer, keyCount: Int, key: (UnsafeMutableRawBufferPointer) -> Void
    ) -> Int {
        var request = RESPRequest(into: buffer)
        request.text("*2\r\n$3\r\nGET\r\n")
        request.bulk(keyCount, key)
        return request.byteCount
    }

    private mutating func text(_ text: StaticString) {
        let count = text.utf8CodeUnitCount
        precondition(byteCount + count <= buffer.count, "the connection's buffer is too small for the request")
        buffer.baseAddress!.advanced(by: byteCount).copyMemory(from: text.utf8Start, byteCount: count)
        byteCount += count
    }

    private mutating func bulk(_ count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void) {
        text("$")
        number(count)
        text("\r\n")
        precondition(byteCount + count <= buffer.count, "the connection's buffer is too small for the request")
        fill(UnsafeMutableRawBufferPointer(rebasing: buffer[byteCount..<byteCount + count]))
        byteCount += count
        text("\r\n")
    }

    private mutating func number(_ value: Int) {
        var divisor = 1
        while value / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            buffer[byteCount] = UInt8(48 + value / divisor % 10)
            byteCount += 1
            divisor /= 10
        }
    }
}
