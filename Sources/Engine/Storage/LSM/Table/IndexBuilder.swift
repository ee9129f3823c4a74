// Gathers a table's index while its data blocks are written: a separator and a place for each. At the end it becomes
// one block, or parts with an index of their own when it is large.

struct IndexBuilder {
    private var keys: [UInt8] = []
    private var keyEnds: [Int] = []
    private var handles: [BlockHandle] = []

    /// Bytes of the value of a row that names a part: its place, and the number of data blocks up to its end.
    static let partValueBytes = BlockHandle.encodedBytes + 4

    var rows: Range<Int> { handles.indices }

    /// Bytes of the index as one block, more or less.
    var bytes: Int { keys.count + handles.count * Self.rowBytes }

    /// The value and the columns of a row (see ``BlockBuilder/bytes(adding:_:)``), without its key.
    static let rowBytes = BlockHandle.encodedBytes + 9

    mutating func add(_ separator: [UInt8], _ handle: BlockHandle) {
        keys.append(contentsOf: separator)
        keyEnds.append(keys.count)
        handles.append(handle)
    }

    func key(_ row: Int) -> ArraySlice<UInt8> {
        keys[(row == 0 ? 0 : keyEnds[row - 1])..<keyEnds[row]]
    }

    /// The index block over some of the rows.
    func block(_ rows: Range<Int>) -> [UInt8] {
        var builder = BlockBuilder()
        var value: [UInt8] = []
        for row in rows {
            value.removeAll(keepingCapacity: true)
            handles[row].encode(into: &value)
            key(row).withUnsafeBytes { key in
                value.withUnsafeBytes { value in builder.add(key: key, hash: 0, trailer: 0, value: value) }
            }
        }
        var output: [UInt8] = []
        builder.finish(into: &output)
        return output
    }

    /// The rows cut into runs of about so many bytes, each at least one row.
    func parts(of bytes: Int) -> [Range<Int>] {
        var parts: [Range<Int>] = []
        var start = 0
        var size = 0
        for row in rows {
            let added = key(row).count + Self.rowBytes
            if row > start, size + added > bytes {
                parts.append(start..<row)
                start = row
                size = 0
            }
            size += added
        }
        parts.append(start..<handles.count)
        return parts
    }

    static func partValue(_ handle: BlockHandle, end: Int) -> [UInt8] {
        var value: [UInt8] = []
        handle.encode(into: &value)
        value.append(littleEndian: UInt32(end))
        return value
    }
}
