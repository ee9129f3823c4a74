// Blocks, filters, separators and the hash: round trips of awkward keys, and a parser that holds against any bytes.
import Testing

@testable import Storage

@Suite struct BlockTests {
    private typealias Entry = (key: [UInt8], trailer: UInt64, value: [UInt8])

    private static func entries(_ random: inout SplitMix, spread: UInt64) -> [Entry] {
        let keys = Set((0..<random.below(60) + 1).map { _ in random.key() })
        return keys.sorted { $0.lexicographicallyPrecedes($1) }.flatMap { key -> [Entry] in
            let newest = random.next() % spread + 10
            return (0..<UInt64(random.below(3) + 1)).map { age in (key, newest - age, random.value()) }
        }
    }

    private static func build(_ entries: [Entry]) -> [UInt8] {
        var builder = BlockBuilder()
        for entry in entries {
            entry.key.withUnsafeBytes { key in
                entry.value.withUnsafeBytes { value in
                    builder.add(key: key, hash: keyHash(key), trailer: entry.trailer, value: value)
                }
            }
        }
        var output: [UInt8] = []
        builder.finish(into: &output)
        return output
    }

    @Test(arguments: [1, 1 << 12, 1 << 30, 1 << 60] as [UInt64]) func roundTrips(spread: UInt64) throws {
        for seed in 1...15 as ClosedRange<UInt64> {
            var random = SplitMix(seed)
            let entries = Self.entries(&random, spread: spread)
            let block = Self.build(entries)
            try block.withUnsafeBytes { buffer in
                let view = try #require(BlockView(buffer))
                #expect(view.count == entries.count)
                for (row, entry) in entries.enumerated() {
                    #expect(Array(view.prefix) + Array(view.suffix(row)) == entry.key, "seed \(seed)")
                    #expect(view.trailer(row) == entry.trailer && Array(view.value(row)) == entry.value, "seed \(seed)")
                }
                for _ in 0..<100 {
                    let key = random.key()
                    let limit = random.next() % (spread + 20)
                    let bound = entries.firstIndex { !$0.key.lexicographicallyPrecedes(key) } ?? entries.count
                    let exact = entries.firstIndex { $0.key == key && $0.trailer <= limit }
                    key.withUnsafeBytes { key in
                        #expect(view.lowerBound(key) == bound, "seed \(seed)")
                        #expect(view.find(key, hash: keyHash(key), trailer: limit) == exact, "seed \(seed)")
                    }
                }
            }
        }
    }

    /// Keys or values of one size need no column of ends, whatever the size.
    @Test(arguments: [(8, 0), (8, 100), (0, 9), (20, -1), (-1, 20), (-1, -1)])
    func evenSizesTakeOneNumber(keyBytes: Int, valueBytes: Int) throws {
        let entries: [Entry] = (0..<40).map { number in
            let count = keyBytes < 0 ? 3 + number % 5 : keyBytes
            let key = keyBytes == 0 ? [] : [UInt8(number)] + [UInt8](repeating: 7, count: count - 1)
            let value = [UInt8](repeating: UInt8(number), count: valueBytes < 0 ? number : valueBytes)
            return (key, UInt64(1000 - number), value)
        }
        let block = Self.build(entries)
        #expect(block[BlockField.keyWidth] == (keyBytes < 0 ? 2 : 0))
        #expect(block[BlockField.valueWidth] == (valueBytes < 0 ? 2 : 0))
        try block.withUnsafeBytes { buffer in
            let view = try #require(BlockView(buffer))
            for (row, entry) in entries.enumerated() {
                #expect(Array(view.prefix) + Array(view.suffix(row)) == entry.key)
                #expect(view.trailer(row) == entry.trailer && Array(view.value(row)) == entry.value)
            }
        }
    }

    @Test func takesTheLargestKeyAndWideOffsets() throws {
        let long = [UInt8](repeating: 5, count: StorageLimits.keyBytesMax)
        let entries: [Entry] = [(long.dropLast(), 3, [1]), (long, 2, [UInt8](repeating: 2, count: 100_000))]
        try Self.build(entries).withUnsafeBytes { buffer in
            let view = try #require(BlockView(buffer))
            #expect(view.prefix.count == long.count - 1 && view.value(1).count == 100_000)
            let row = long.withUnsafeBytes { view.find($0, hash: keyHash($0), trailer: .max) }
            #expect(row == 1)
        }
    }

    /// Bytes that passed no checksum: the parser refuses them or stays inside the buffer.
    @Test func theParserHoldsAgainstAnyBytes() {
        for seed in 1...8 as ClosedRange<UInt64> {
            var random = SplitMix(seed)
            let block = Self.build(Self.entries(&random, spread: 1 << 30))
            for _ in 0..<150 {
                var broken = block
                if random.below(4) == 0 { broken.removeLast(random.below(broken.count)) }
                for _ in 0..<random.below(4) + 1 where !broken.isEmpty {
                    // Mostly in the header and the columns, where the offsets are.
                    let position =
                        random.below(2) == 0 ? random.below(min(24, broken.count)) : random.below(broken.count)
                    broken[position] = UInt8(truncatingIfNeeded: random.next())
                }
                let key = random.key()
                broken.withUnsafeBytes { buffer in
                    guard let view = BlockView(buffer) else { return }
                    var sum = 0
                    for row in 0..<view.count {
                        sum &+= view.suffix(row).reduce(0) { $0 &+ Int($1) } &+ view.value(row).count
                        sum &+= Int(truncatingIfNeeded: view.trailer(row))
                    }
                    key.withUnsafeBytes { key in
                        sum &+= view.lowerBound(key) &+ (view.find(key, hash: keyHash(key), trailer: .max) ?? 0)
                    }
                    withExtendedLifetime(sum) {}
                }
            }
        }
    }

    @Test func separatorsSeparate() {
        var random = SplitMix(11)
        for _ in 0..<2000 {
            let pair = [random.key(), random.key()].sorted { $0.lexicographicallyPrecedes($1) }
            if pair[0] == pair[1] { continue }
            let separator = pair[1].withUnsafeBytes { TableBuilder.separator(between: pair[0], and: $0) }
            let good =
                !separator.lexicographicallyPrecedes(pair[0]) && separator.lexicographicallyPrecedes(pair[1])
                && separator.count <= pair[0].count
            #expect(good, "\(separator) between \(pair)")
        }
    }

    /// 10 bits a key: no key is denied, and at least 98.8 of 100 absent ones are.
    @Test func theFilterLetsFewAbsentKeysThrough() throws {
        let count = 20_000
        let hashes = (0..<count).map { number in paddedKey(number).withUnsafeBytes { keyHash($0) } }
        let filter = BloomFilter.build(KeyHashes(hashes), bitsPerKey: 10)
        #expect(filter.count < count * 10 / 8 + 128)
        try filter.withUnsafeBytes { buffer in
            let view = try #require(BloomFilterView(buffer))
            #expect(hashes.allSatisfy { view.mayContain($0) })
            var passed = 0
            for number in count..<count * 2 where paddedKey(number).withUnsafeBytes({ view.mayContain(keyHash($0)) }) {
                passed += 1
            }
            #expect(Double(passed) / Double(count) < 0.012, "\(passed) of \(count)")
        }
    }

    /// The hash is part of the file format.
    @Test func theHashNeverChanges() {
        let words = ["", "a", "12345678", "a key of more than sixteen bytes"]
        let hashes = words.map { word in bytes(word).withUnsafeBytes { keyHash($0) } }
        #expect(
            hashes == [
                13_819_002_137_095_860_965, 17_000_070_516_252_689_657, 3_666_186_301_316_998_340,
                4_408_316_901_508_894_825,
            ])
    }

    @Test func hashesSpread() {
        var seen: Set<UInt64> = []
        for number in 0..<20_000 { seen.insert(paddedKey(number).withUnsafeBytes { keyHash($0) }) }
        for length in 0..<200 { seen.insert([UInt8](repeating: 0, count: length).withUnsafeBytes { keyHash($0) }) }
        #expect(seen.count == 20_200)
    }
}

@Suite struct BlockCodecTests {
    private func text(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 % 23 + $0 / 100) } }

    @Test(arguments: [BlockCompression.lz4, .zstd]) func packedBlocksComeBack(compression: BlockCompression) throws {
        for count in [60, 100, 4096, 70_000, 1 << 20] {
            let block = text(count)
            let packed = try #require(BlockCodec.pack(block, compression))
            #expect(packed.count <= count - count / 8)
            try packed.withUnsafeBytes { packed in
                let size = try #require(BlockCodec.unpackedBytes(packed))
                var whole = [UInt8](repeating: 0, count: size)
                #expect(whole.withUnsafeMutableBytes { BlockCodec.unpack(packed, into: $0, compression) })
                #expect(whole == block)
                var short = [UInt8](repeating: 0, count: size - 1)
                #expect(!short.withUnsafeMutableBytes { BlockCodec.unpack(packed, into: $0, compression) })
            }
        }
        var random = SystemRandomNumberGenerator()
        let noise = (0..<4096).map { _ in UInt8.random(in: 0...255, using: &random) }
        #expect(BlockCodec.pack(noise, compression) == nil, "what can't be packed stays as it is")
    }

    /// Whatever is flipped in a packed block: an answer of the right size or none, never a fault.
    @Test(arguments: [BlockCompression.lz4, .zstd]) func brokenBlocksAreRefused(compression: BlockCompression) throws {
        let packed = try #require(BlockCodec.pack(text(3000), compression))
        for position in BlockCodec.headerBytes..<packed.count {
            for bit in 0..<8 {
                var broken = packed
                broken[position] ^= 1 << bit
                var target = [UInt8](repeating: 0, count: 3000)
                _ = broken.withUnsafeBytes { broken in
                    target.withUnsafeMutableBytes { BlockCodec.unpack(broken, into: $0, compression) }
                }
            }
        }
    }
}
