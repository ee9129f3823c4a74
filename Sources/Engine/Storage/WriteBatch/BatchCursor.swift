// Walks the operations of an encoded batch in place, without a copy: the engine's own view of a WriteBatch. It must
// hold against any bytes; it stops at the first one that makes no sense.

/// One write inside somebody else's buffer.
struct BatchOperation {
    var kind: OperationKind
    var key: UnsafeRawBufferPointer
    var value: UnsafeRawBufferPointer
}

struct BatchCursor {
    private var reader: ByteReader
    /// Operations as the header counts them.
    let count: Int
    /// Operations walked so far.
    private(set) var seen = 0

    init(_ buffer: UnsafeRawBufferPointer, from position: Int = WriteBatch.headerBytes) {
        var header = ByteReader(buffer, from: 8)
        count = Int(header.read(UInt32.self) ?? 0)
        reader = ByteReader(buffer, from: position)
    }

    var position: Int { reader.position }
    var isAtEnd: Bool { reader.remaining == 0 }

    /// The next operation; nil at the end and at bytes that are none (`isAtEnd` tells which).
    mutating func next() -> BatchOperation? {
        var attempt = reader
        guard let byte = attempt.read(UInt8.self), let kind = OperationKind(rawValue: byte),
            let key = attempt.readLengthPrefixed()
        else { return nil }
        var value = UnsafeRawBufferPointer(start: nil, count: 0)
        if kind != .delete {
            guard let found = attempt.readLengthPrefixed() else { return nil }
            value = found
        }
        reader = attempt
        seen += 1
        return BatchOperation(kind: kind, key: key, value: value)
    }
}
