// The bytes of one real file of which the newest are in memory only: pages that were written and not synced, and a size
// that may differ from the file's. Only a sync moves them to the file. Everything a reader sees is the newest;
// everything the file holds is durable.
import FileIO

struct UnsyncedContent {
    private let base: any File
    private var pages: [UInt64: [UInt8]] = [:]
    private(set) var size: UInt64
    /// Of the real file.
    private var baseSize: UInt64
    /// Where the real file's bytes end that no truncation has cut off; below `baseSize` until that truncation is
    /// synced.
    private var visibleBase: UInt64

    private static let pageBytes = 4096

    init(_ base: any File) throws(FileIOError) {
        self.base = base
        size = try base.size()
        baseSize = size
        visibleBase = size
    }

    var isDirty: Bool { !pages.isEmpty || size != baseSize || visibleBase != baseSize }

    /// - Returns: bytes read.
    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        guard position < size, let start = buffer.baseAddress else { return 0 }
        let count = Int(min(UInt64(buffer.count), size - position))
        let visible = position < visibleBase ? min(count, Int(visibleBase - position)) : 0
        if visible > 0 {
            let moved = try base.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<visible]), at: position)
            guard moved == visible else {
                throw FileIOError(
                    operation: .read, path: base.path, reason: .other,
                    detail: "somebody else shortened the file under a disk with --fault power-loss")
            }
        }
        (start + visible).initializeMemory(as: UInt8.self, repeating: 0, count: count - visible)
        for page in Self.pages(position, count) {
            guard let bytes = pages[page] else { continue }
            let (from, to) = Self.overlap(page, position, count)
            bytes.withUnsafeBytes { source in
                (start + Int(from - position)).copyMemory(
                    from: source.baseAddress! + Int(from - page * UInt64(Self.pageBytes)), byteCount: Int(to - from))
            }
        }
        return count
    }

    /// Writes to memory.
    mutating func write(_ bytes: UnsafeRawBufferPointer, at position: UInt64) throws(FileIOError) {
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
        for page in Self.pages(position, bytes.count) {
            // Taken out and put back, so that the page is changed where it is.
            var content = if let old = pages.removeValue(forKey: page) { old } else { try load(page) }
            let (from, to) = Self.overlap(page, position, bytes.count)
            content.withUnsafeMutableBytes { target in
                (target.baseAddress! + Int(from - page * UInt64(Self.pageBytes))).copyMemory(
                    from: start + Int(from - position), byteCount: Int(to - from))
            }
            pages[page] = content
        }
        size = max(size, position + UInt64(bytes.count))
    }

    /// Moves the pages of a range to the file, durably, and the size that they need.
    mutating func syncRange(_ position: UInt64, count: Int) throws(FileIOError) {
        guard count > 0 else { return }
        // A truncation must reach the file before what was written behind it.
        guard visibleBase == baseSize else { return try sync() }
        let range = Self.pages(position, count)
        try writeRun(range.lowerBound..<range.upperBound, durability: .power)
        baseSize = max(baseSize, min(range.upperBound * UInt64(Self.pageBytes), size))
        visibleBase = baseSize
        for page in range { pages[page] = nil }
    }

    /// Moves everything to the file, durably.
    mutating func sync() throws(FileIOError) {
        if visibleBase < baseSize {
            try base.truncate(to: visibleBase)
            baseSize = visibleBase
        }
        var run: Range<UInt64>?
        for page in pages.keys.sorted() {
            if let open = run, open.upperBound == page {
                run = open.lowerBound..<page + 1
            } else {
                if let run { try writeRun(run, durability: .process) }
                run = page..<page + 1
            }
        }
        if let run { try writeRun(run, durability: .process) }
        if try base.size() < size { try base.truncate(to: size) }
        try base.sync()
        pages = [:]
        baseSize = size
        visibleBase = size
    }

    mutating func truncate(to newSize: UInt64) {
        if newSize < size {
            let page = newSize / UInt64(Self.pageBytes)
            for later in pages.keys where later > page { pages[later] = nil }
            if var content = pages.removeValue(forKey: page) {
                let kept = Int(newSize % UInt64(Self.pageBytes))
                for index in kept..<Self.pageBytes { content[index] = 0 }
                if kept > 0 { pages[page] = content }
            }
            visibleBase = min(visibleBase, newSize)
        }
        size = newSize
    }

    /// Blocks are reserved in the file at once, which a power loss may leave or not.
    mutating func reserve(at position: UInt64, count: UInt64) throws(FileIOError) {
        let end = position + count
        if visibleBase == baseSize {
            try base.reserve(at: position, count: count)
            baseSize = max(baseSize, end)
            visibleBase = baseSize
        }
        size = max(size, end)
    }

    /// Writes pages that follow each other, all of them in memory, as one write.
    private func writeRun(_ run: Range<UInt64>, durability: WriteDurability) throws(FileIOError) {
        let start = run.lowerBound * UInt64(Self.pageBytes)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(run.count * Self.pageBytes)
        for page in run { bytes += pages[page] ?? [UInt8](repeating: 0, count: Self.pageBytes) }
        bytes.removeLast(bytes.count - min(bytes.count, Int(size - start)))
        try base.write(bytes: bytes, at: start, durability: durability)
    }

    private func load(_ page: UInt64) throws(FileIOError) -> [UInt8] {
        let start = page * UInt64(Self.pageBytes)
        var bytes =
            start < visibleBase
            ? try base.read(count: Int(min(UInt64(Self.pageBytes), visibleBase - start)), at: start) : []
        bytes.append(contentsOf: repeatElement(0, count: Self.pageBytes - bytes.count))
        return bytes
    }

    private static func pages(_ position: UInt64, _ count: Int) -> Range<UInt64> {
        position / UInt64(pageBytes)..<(position + UInt64(count) + UInt64(pageBytes) - 1) / UInt64(pageBytes)
    }

    private static func overlap(_ page: UInt64, _ position: UInt64, _ count: Int) -> (from: UInt64, to: UInt64) {
        let start = page * UInt64(pageBytes)
        return (max(position, start), min(position + UInt64(count), start + UInt64(pageBytes)))
    }
}
