// The hashes of a table's keys, gathered for its filter. In pieces: one array that doubles would take three times the
// memory of what it holds while it grows.

struct KeyHashes {
    /// Each of ``pieceCount`` hashes but the last.
    private(set) var pieces: [[UInt64]] = []
    private(set) var count = 0

    /// 512 KiB.
    private static let pieceCount = 1 << 16

    init() {}

    init(_ hashes: some Sequence<UInt64>) {
        for hash in hashes { append(hash) }
    }

    mutating func append(_ hash: UInt64) {
        if count % Self.pieceCount == 0 {
            pieces.append([])
            pieces[pieces.count - 1].reserveCapacity(Self.pieceCount)
        }
        pieces[pieces.count - 1].append(hash)
        count &+= 1
    }
}
