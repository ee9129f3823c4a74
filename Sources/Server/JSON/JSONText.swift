// Writes the small JSON objects that the HTTP front end answers with, straight into a buffer. Bytes that are not UTF-8
// can't stand in a JSON string: such a field is written under its name with `Base64` appended, as base64, so that
// nothing is ever replaced or dropped.
import Foundation
import NIOCore

/// One JSON object being written.
struct JSONText {
    private(set) var buffer: ByteBuffer
    private var isFirst = true

    /// - Parameter capacity: bytes to expect, to spare the buffer its growing.
    init(capacity: Int = 256) {
        buffer = ByteBuffer()
        buffer.reserveCapacity(capacity)
        buffer.writeStaticString("{")
    }

    /// Ends the object.
    consuming func finished() -> ByteBuffer {
        buffer.writeStaticString("}")
        return buffer
    }

    mutating func write(_ name: StaticString, _ value: Bool) {
        writeName(name)
        buffer.writeStaticString(value ? "true" : "false")
    }

    mutating func write(_ name: StaticString, _ value: UInt64) {
        writeName(name)
        buffer.writeString(String(value))
    }

    mutating func write(_ name: StaticString, _ value: Int64) {
        writeName(name)
        buffer.writeString(String(value))
    }

    mutating func write(_ name: StaticString, _ value: String) {
        writeName(name)
        var value = value
        value.withUTF8 { writeQuoted(UnsafeRawBufferPointer($0)) }
    }

    /// Writes an array of objects.
    mutating func write(_ name: StaticString, _ elements: [JSONText]) {
        writeName(name)
        buffer.writeStaticString("[")
        for (place, element) in elements.enumerated() {
            if place > 0 { buffer.writeStaticString(",") }
            buffer.writeImmutableBuffer(element.finished())
        }
        buffer.writeStaticString("]")
    }

    /// Writes `"name":"text"` if the bytes are UTF-8, `"nameBase64":"…"` if they are not.
    mutating func write(_ name: StaticString, bytes: [UInt8]) {
        guard String(validating: bytes, as: UTF8.self) != nil else {
            writeName(name, suffix: "Base64")
            buffer.writeStaticString("\"")
            buffer.writeString(Data(bytes).base64EncodedString())
            buffer.writeStaticString("\"")
            return
        }
        writeName(name)
        bytes.withUnsafeBytes { writeQuoted($0) }
    }

    private mutating func writeName(_ name: StaticString, suffix: StaticString = "") {
        buffer.writeStaticString(isFirst ? "\"" : ",\"")
        isFirst = false
        buffer.writeStaticString(name)
        buffer.writeStaticString(suffix)
        buffer.writeStaticString("\":")
    }

    /// Writes a string with what RFC 8259 §7 wants escaped: quotes, backslashes and control characters. Runs between
    /// them are copied whole.
    private mutating func writeQuoted(_ bytes: UnsafeRawBufferPointer) {
        buffer.writeStaticString("\"")
        var start = 0
        for (index, byte) in bytes.enumerated() where byte < 0x20 || byte == 0x22 || byte == 0x5c {
            buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
            start = index + 1
            switch byte {
            case 0x22: buffer.writeStaticString("\\\"")
            case 0x5c: buffer.writeStaticString("\\\\")
            case 0x0a: buffer.writeStaticString("\\n")
            case 0x0d: buffer.writeStaticString("\\r")
            case 0x09: buffer.writeStaticString("\\t")
            default:
                buffer.writeStaticString("\\u00")
                buffer.writeInteger(Self.hexDigit(byte >> 4))
                buffer.writeInteger(Self.hexDigit(byte & 15))
            }
        }
        buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        buffer.writeStaticString("\"")
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
