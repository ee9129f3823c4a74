// One file or directory of the simulated disk: what a reader sees now, and what a power cut would leave. The unit of
// loss is the 512-byte sector: after a crash each unsynced one is old, new, or torn in the middle.

/// Bytes that a disk writes atomically, when it feels like it.
let sectorBytes = 512

struct SimulatedNode: Sendable {
    /// A name in a directory.
    struct Entry: Sendable, Equatable {
        var name: String
        var node: Int
    }

    let isDirectory: Bool
    /// Open handles; keeps the content alive after the last name is gone.
    var handles = 0

    // Files.
    private(set) var content: [UInt8] = []
    private(set) var durable: [UInt8] = []
    /// Per sector: changed since it was last synced.
    private var dirty: [Bool] = []
    /// Bounds of the sectors that may be dirty.
    private var dirtyBounds = 0..<0

    // Directories, sorted bytewise.
    private(set) var entries: [Entry] = []
    private(set) var durableEntries: [Entry] = []

    init(isDirectory: Bool) {
        self.isDirectory = isDirectory
    }

    // MARK: content

    mutating func write(_ bytes: UnsafeRawBufferPointer, at position: Int) {
        if bytes.isEmpty { return }
        let end = position + bytes.count
        if end > content.count { resize(to: end) }
        content.withUnsafeMutableBytes {
            UnsafeMutableRawBufferPointer(rebasing: $0[position..<end]).copyMemory(from: bytes)
        }
        markDirty(position..<end)
    }

    mutating func resize(to count: Int) {
        if count < content.count {
            markDirty(count..<content.count)
            content.removeLast(content.count - count)
        } else if count > content.count {
            markDirty(content.count..<count)
            content += [UInt8](repeating: 0, count: count - content.count)
        }
    }

    /// Changes bytes in place as a failing medium does: nobody is told, and no sync undoes it.
    mutating func damage(at position: Int, mask: UInt8) {
        if position < content.count { content[position] ^= mask }
        if position < durable.count { durable[position] ^= mask }
    }

    private mutating func markDirty(_ range: Range<Int>) {
        let sectors = range.lowerBound / sectorBytes..<(range.upperBound + sectorBytes - 1) / sectorBytes
        if dirty.count < sectors.upperBound {
            dirty += [Bool](repeating: false, count: sectors.upperBound - dirty.count)
        }
        for sector in sectors { dirty[sector] = true }
        dirtyBounds =
            dirtyBounds.isEmpty
            ? sectors
            : min(dirtyBounds.lowerBound, sectors.lowerBound)..<max(dirtyBounds.upperBound, sectors.upperBound)
    }

    /// Makes the size and every sector durable.
    mutating func sync() {
        syncSize()
        for sector in dirtyBounds where dirty[sector] { syncSector(sector) }
        forgetDirt()
    }

    /// Makes the size and the sectors of a range durable, as a write with `RWF_DSYNC` does.
    mutating func sync(_ range: Range<Int>) {
        syncSize()
        for sector in range.lowerBound / sectorBytes..<(range.upperBound + sectorBytes - 1) / sectorBytes {
            syncSector(sector)
        }
    }

    /// What a kernel does when a sync fails: the pages count as clean, though they never reached the disk.
    mutating func forgetDirt() {
        for sector in dirtyBounds { dirty[sector] = false }
        dirtyBounds = 0..<0
    }

    private mutating func syncSize() {
        if durable.count > content.count {
            durable.removeLast(durable.count - content.count)
        } else {
            durable += [UInt8](repeating: 0, count: content.count - durable.count)
        }
    }

    private mutating func syncSector(_ sector: Int) {
        let start = sector * sectorBytes
        let end = min(start + sectorBytes, content.count)
        if start < end { Self.copy(start..<end, from: content, to: &durable) }
        if sector < dirty.count { dirty[sector] = false }
    }

    private static func copy(_ range: Range<Int>, from source: [UInt8], to target: inout [UInt8]) {
        source.withUnsafeBytes { source in
            target.withUnsafeMutableBytes {
                UnsafeMutableRawBufferPointer(rebasing: $0[range])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[range]))
            }
        }
    }

    /// The power goes: of what was not synced an arbitrary part survives.
    mutating func crash(_ random: inout SimulatedRandom) {
        // Besides arbitrary mixtures, everything lost and everything kept are outcomes worth having often.
        let (keepsAll, keepsNone) = (random.chance(1, in: 4), random.chance(1, in: 3))
        var result = durable
        let size = keepsAll ? content.count : keepsNone ? durable.count : crashedSize(&random)
        if size < result.count { result.removeLast(result.count - size) }
        result += [UInt8](repeating: 0, count: size - result.count)
        for sector in dirtyBounds where dirty[sector] {
            let start = sector * sectorBytes
            let end = min(start + sectorBytes, content.count, size)
            guard start < end, !keepsNone || keepsAll else { continue }
            var kept = start..<end
            if !keepsAll {
                switch random.below(8) {
                case 0..<4: continue
                case 4: kept = start..<start + random.below(end - start + 1)
                case 5: kept = start + random.below(end - start + 1)..<end
                default: break
                }
            }
            Self.copy(kept, from: content, to: &result)
        }
        content = result
        durable = result
        forgetDirt()
        handles = 0
    }

    private func crashedSize(_ random: inout SimulatedRandom) -> Int {
        let (low, high) = (min(content.count, durable.count), max(content.count, durable.count))
        switch random.below(3) {
        case 0: return content.count
        case 1: return durable.count
        default: return low + random.below(high - low + 1)
        }
    }

    mutating func removeContent() {
        self = SimulatedNode(isDirectory: isDirectory)
    }

    // MARK: names

    func node(named name: String) -> Int? {
        let position = Self.position(of: name, in: entries)
        return position < entries.count && entries[position].name == name ? entries[position].node : nil
    }

    mutating func set(_ name: String, to node: Int?) {
        Self.set(name, to: node, in: &entries)
    }

    mutating func setDurable(_ name: String, to node: Int?) {
        Self.set(name, to: node, in: &durableEntries)
    }

    mutating func revertNames() {
        entries = durableEntries
    }

    private static func set(_ name: String, to node: Int?, in entries: inout [Entry]) {
        let position = position(of: name, in: entries)
        let exists = position < entries.count && entries[position].name == name
        if let node {
            if exists {
                entries[position].node = node
            } else {
                entries.insert(Entry(name: name, node: node), at: position)
            }
        } else if exists {
            entries.remove(at: position)
        }
    }

    /// Where a name stands, or would stand.
    private static func position(of name: String, in entries: [Entry]) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].name.utf8.lexicographicallyPrecedes(name.utf8) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): small, seedable, the same everywhere.
struct SimulatedRandom: Sendable {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number in `0..<bound`; the bias of the remainder does not matter here.
    mutating func below(_ bound: Int) -> Int {
        Int(next() % UInt64(bound))
    }

    mutating func chance(_ part: Int, in whole: Int) -> Bool {
        below(whole) < part
    }
}
