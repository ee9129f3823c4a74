// Indexes of one block and of parts: whichever a table has, every key is found, every seek lands where a sorted array
// says, both ways, with and without a cache, and a damaged part is an error for those who need it.
import FileIO
import SimulatedIO
import Testing

@testable import Storage

@Suite struct IndexPartsTests {
    private typealias Entry = (key: [UInt8], value: [UInt8])

    private static func entries(_ seed: UInt64) -> [Entry] {
        var random = SplitMix(seed)
        var keys = Set((0..<80).map { _ in random.key() })
        for _ in 0..<120 { keys.insert(paddedKey(random.below(10_000))) }
        return keys.sorted { $0.lexicographicallyPrecedes($1) }.map { ($0, random.value()) }
    }

    private static func build(
        _ entries: [Entry], indexBytes: Int, cache: BlockCache? = nil
    ) throws -> (SimulatedFileSystem, Table) {
        let system = SimulatedFileSystem(seed: 1)
        let file = try system.open("t.sst", .create)
        let options = TableOptions(blockBytes: 128, bloomBitsPerKey: 10, indexBytes: indexBytes)
        var builder = TableBuilder(file: file, identity: TableIdentity(store: 5, number: 6), options: options)
        for (number, entry) in entries.enumerated() {
            let trailer = UInt64(number + 1) << 8 | UInt64(OperationKind.put.rawValue)
            try entry.key.withRawBytes { (key) throws(StorageError) in
                try entry.value.withRawBytes { (value) throws(StorageError) in
                    try builder.add(key: key, trailer: trailer, value: value)
                }
            }
        }
        let metadata = TableMetadata(number: 6, level: 1, summary: try builder.finish())
        return (system, try Table(file, metadata: metadata, store: 5, cache: cache))
    }

    private static func find(_ table: Table, _ key: [UInt8]) throws -> [UInt8]? {
        let lookup = try key.withRawBytes { (key) throws(StorageError) in
            try table.find(key, hash: keyHash(key), sequence: SkipList.sequenceMax)
        }
        if case .found(let value) = lookup { return value }
        return nil
    }

    /// Each key, and what lies right before and right after it, in front of all and behind all.
    private static func probes(_ entries: [Entry]) -> [[UInt8]] {
        var probes: Set<[UInt8]> = [[], [255, 255, 255, 255, 255, 255, 255]]
        for entry in entries {
            probes.insert(entry.key)
            probes.insert(entry.key + [0])
            if let last = entry.key.last { probes.insert(entry.key.dropLast() + (last > 0 ? [last - 1, 255] : [])) }
        }
        return probes.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Compares reads, seeks and walks with the sorted array.
    private static func check(_ table: Table, _ entries: [Entry], keepsBlocks: Bool, _ note: String) throws {
        var cursor = RunCursor([table], keepsBlocks: keepsBlocks)
        func at(_ cursor: borrowing RunCursor) -> Entry? {
            cursor.isValid ? ([UInt8](cursor.key), [UInt8](cursor.value)) : nil
        }
        func expect(_ found: Entry?, _ index: Int, _ what: String) {
            let right = entries.indices.contains(index) ? entries[index] : nil
            let isSame = found?.key == right?.key && found?.value == right?.value
            #expect(isSame, "\(note), \(what), entry \(index)")
        }
        for probe in probes(entries) {
            let bound = entries.firstIndex { !$0.key.lexicographicallyPrecedes(probe) } ?? entries.count
            let isThere = bound < entries.count && entries[bound].key == probe
            let found = try find(table, probe)
            #expect(found == (isThere ? entries[bound].value : nil), "\(note), \(probe)")
            try probe.withRawBytes { (key) throws(StorageError) in try cursor.seek(key) }
            expect(at(cursor), bound, "seek \(probe)")
            try probe.withRawBytes { (key) throws(StorageError) in try cursor.seekBefore(key) }
            expect(at(cursor), bound - 1, "seek before \(probe)")
        }
        try cursor.seekToFirst()
        for index in 0...entries.count {
            expect(at(cursor), index, "forward")
            if cursor.isValid { try cursor.next() }
        }
        try cursor.seekToLast()
        for index in (-1..<entries.count).reversed() {
            expect(at(cursor), index, "backward")
            if cursor.isValid { try cursor.previous() }
        }
        cursor.end()
    }

    /// Bytes of the index by the measure that the threshold has.
    private static func indexBytes(_ entries: [Entry]) throws -> (bytes: Int, rows: Int) {
        let (system, table) = try build(entries, indexBytes: .max)
        let whole = try system.bytes("t.sst")
        let footer = try TableFooter(
            Array(whole.suffix(TableFooter.bytes)), path: "t.sst", fileSize: UInt64(whole.count))
        let start = Int(footer.index.offset)
        let bytes = try whole[start..<start + Int(footer.index.size)].withUnsafeBytes { buffer in
            let view = try #require(BlockView(buffer))
            return (0..<view.count).reduce(0) { $0 + view.prefix.count + view.suffix($1).count + IndexBuilder.rowBytes }
        }
        return (bytes, table.blockCount)
    }

    @Test(arguments: [nil, 0, 3000, 1 << 20] as [Int?]) func readsAsASortedArray(cacheBytes: Int?) throws {
        for seed in 1...2 as ClosedRange<UInt64> {
            let entries = Self.entries(seed)
            for indexBytes in [Int.max, 0] {
                let cache = cacheBytes.map { BlockCache(capacity: $0, blockBytes: 128) }
                let (_, table) = try Self.build(entries, indexBytes: indexBytes, cache: cache)
                #expect(indexBytes == 0 ? table.indexParts > 5 : table.indexParts == 0)
                for keeps in [true, false] {
                    try Self.check(
                        table, entries, keepsBlocks: keeps, "seed \(seed), cache \(cacheBytes ?? -1), kept \(keeps)")
                }
            }
        }
    }

    @Test func theThresholdIsExact() throws {
        let entries = Self.entries(3)
        let (bytes, rows) = try Self.indexBytes(entries)
        let (_, whole) = try Self.build(entries, indexBytes: bytes)
        #expect(whole.indexParts == 0 && whole.blockCount == rows)
        let (_, cut) = try Self.build(entries, indexBytes: bytes - 1)
        #expect(cut.indexParts > 1 && cut.blockCount == rows)
        #expect(cut.pinnedBytes < whole.pinnedBytes)
        try Self.check(cut, entries, keepsBlocks: true, "just over the threshold")
        // A single block: one part of one row.
        let (_, least) = try Self.build([entries[4]], indexBytes: 0)
        #expect(least.indexParts == 1 && least.blockCount == 1)
        try Self.check(least, [entries[4]], keepsBlocks: true, "one entry")
    }

    @Test func partsAreCutBySizeAndCoverAll() throws {
        var index = IndexBuilder()
        for number in 0..<100 {
            index.add(paddedKey(number), BlockHandle(offset: UInt64(number) * 100, size: 92))
        }
        let row = 16 + IndexBuilder.rowBytes
        #expect(index.bytes == 100 * row)
        for size in [0, row - 1, row, 2 * row, 3 * row - 1, 100 * row - 1, 100 * row, .max] {
            let parts = index.parts(of: size)
            #expect(parts.flatMap { Array($0) } == Array(0..<100))
            #expect(parts.allSatisfy { $0.count == 1 || $0.count * row <= size })
            #expect(parts.dropLast().allSatisfy { ($0.count + 1) * row > size }, "no part is cut early")
        }
    }

    /// A damaged part fails those who need it, and nobody else.
    @Test func aBrokenPartLeavesTheOthers() throws {
        let entries = Self.entries(4)
        let (system, table) = try Self.build(entries, indexBytes: 0)
        let whole = try system.bytes("t.sst")
        let footer = try TableFooter(
            Array(whole.suffix(TableFooter.bytes)), path: "t.sst", fileSize: UInt64(whole.count))
        // The last byte in front of the index block belongs to the last part's trailer.
        try system.damage("t.sst", at: footer.index.offset - 1, mask: 4)
        #expect(try Self.find(table, entries[0].key) == entries[0].value)
        #expect(throws: StorageError.self) { try Self.find(table, entries[entries.count - 1].key) }
        var cursor = RunCursor([table])
        try cursor.seekToFirst()
        var count = 0
        let error = #expect(throws: StorageError.self) {
            while cursor.isValid {
                count += 1
                try cursor.next()
            }
        }
        #expect(count > entries.count / 2 && count < entries.count)
        guard case .corruption(let path, _, _)? = error else {
            Issue.record("\(String(describing: error)) is no corruption")
            return
        }
        #expect(path == "t.sst")
    }
}
