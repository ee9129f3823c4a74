// How fast writers may go. The delay grows smoothly with what compaction is behind, so that writers slow down early and
// seldom stop. Recomputed whenever the set of files changes; reading it costs one load.
internal import Glibc
internal import Synchronization

extension LSMStore {
    /// True when memory or files pile up faster than they are worked off: the owner should hold its writers back until
    /// maintenance has caught up.
    public var needsBackpressure: Bool {
        sealedCount.load(ordering: .relaxed) >= options.sealedMemtablesMax
            || level0Count.load(ordering: .relaxed) >= options.level0Stop
    }

    /// How long the owner should wait after applying a batch of this many bytes; 0 as long as compaction keeps up.
    public func writeDelayNanoseconds(bytes: Int) -> UInt64 {
        var rate = delayPerByte.load(ordering: .relaxed)
        if sealedCount.load(ordering: .relaxed) > 0 { rate = max(rate, overlapDelayPerByte.load(ordering: .relaxed)) }
        return rate == 0 ? 0 : UInt64(max(0, bytes)) &* rate >> Self.delayFraction
    }

    /// Lets the next memtable grow by a sixteenth of what of the sealed one is written out, so that two full ones
    /// never stand side by side as long as the disk keeps up: memory stays near that of one. Writers below a sixteenth
    /// of the disk's rate never notice.
    /// - Parameter filled: bytes in the active memtable.
    func paceOverlap(filled: Int) {
        let allowed = options.memtableBytes / Self.overlapStart + writtenOut.load(ordering: .relaxed) / Self.overlap
        let excess = max(0, filled - allowed)
        // 1 ns a byte for each 4 KiB too many: it settles where writers have the rate that is allowed.
        let perByte = min(UInt64(excess >> 12) << Self.delayFraction, Self.overlapDelayMax << Self.delayFraction)
        overlapDelayPerByte.store(perByte, ordering: .relaxed)
    }

    private static var overlap: Int { 16 }
    /// The part of a memtable that is free before anything is written out: the background thread is not always idle.
    private static var overlapStart: Int { 64 }
    /// Nanoseconds a byte: 2 MB/s, as under the greatest compaction debt.
    private static var overlapDelayMax: UInt64 { 512 }

    /// Bytes that lie above the level where they belong.
    public var compactionDebtBytes: UInt64 {
        let version = currentView().version
        return LevelTargets(version, options: options).debt(of: version)
    }

    /// Binary places of ``delayPerByte``.
    private static var delayFraction: UInt64 { 10 }

    func updatePacing(_ view: ReadView) {
        let version = view.version
        let tables = version.levels[0].count
        sealedCount.store(view.sealed.count, ordering: .relaxed)
        level0Count.store(tables, ordering: .relaxed)
        let indexes = view.sealed.map { $0.table.indexBytes }
        if let last = indexes.last { memtableIndexBytes.store(last, ordering: .relaxed) }
        let memtableIndexes = indexes.reduce(memtableIndexBytes.load(ordering: .relaxed), +)
        cache.setCapacity(options.cacheBytes(pinned: version.pinnedBytes + memtableIndexes))
        let debt = Double(LevelTargets(version, options: options).debt(of: version))
        let soft = Double(options.levelBaseBytes) * 4
        let byFiles = Double(tables - options.level0Slow) / Double(max(1, options.level0Stop - options.level0Slow))
        let pressure = min(1, max(byFiles, (debt - soft) / (soft * 4)))
        // From 128 MB/s when pressure begins down to 2 MB/s: 8 ns a byte, times 64 at full pressure.
        let perByte = pressure <= 0 ? 0 : 8 * pow(64, pressure)
        delayPerByte.store(UInt64(perByte * Double(1 << Self.delayFraction)), ordering: .relaxed)
    }
}
