// Chooses the next compaction: the most urgent level, and in it the table that costs the least rewriting below. Pure:
// it looks at a version and answers. Its plans must take every table of the two levels that overlaps what is moved, or
// a newer version of a key could sink below an older one.

struct CompactionPlan {
    let level: Int
    let outputLevel: Int
    /// Tables of `level`.
    let inputs: [Table]
    /// Tables of `outputLevel` that overlap the inputs.
    let overlapping: [Table]

    /// The next compaction that is due, if any.
    static func next(_ version: Version, options: LSMOptions) -> CompactionPlan? {
        let targets = LevelTargets(version, options: options)
        let scores = (0..<Version.levelCount - 1).map { targets.score(of: $0, in: version, options: options) }
        guard let level = scores.indices.max(by: { scores[$0] < scores[$1] }), scores[level] >= 1 else { return nil }
        if level == 0 { return flushedTables(version, into: targets.base) }
        return cheapest(version, from: level)
    }

    /// Everything of one level that overlaps a range of keys, whether due or not; nil when there is nothing.
    static func range(
        _ version: Version, level: Int, from: [UInt8], to: [UInt8]?, options: LSMOptions
    ) -> CompactionPlan? {
        let chosen = version.levels[level].filter { $0.metadata.overlaps(from: from, to: to) }
        guard !chosen.isEmpty else { return nil }
        let below = level == 0 ? LevelTargets(version, options: options).base : level + 1
        return plan(version, level == 0 ? closure(of: chosen, in: version) : chosen, from: level, into: below)
    }

    /// The oldest table of level 0 with everything in level 0 that it overlaps.
    private static func flushedTables(_ version: Version, into base: Int) -> CompactionPlan? {
        guard let oldest = version.levels[0].last else { return nil }
        return plan(version, closure(of: [oldest], in: version), from: 0, into: base)
    }

    private static func closure(of tables: [Table], in version: Version) -> [Table] {
        var chosen = tables
        var grown = true
        while grown {
            grown = false
            for table in version.levels[0] where !chosen.contains(where: { $0 === table }) {
                guard chosen.contains(where: { $0.metadata.overlaps(table.metadata) }) else { continue }
                chosen.append(table)
                grown = true
            }
        }
        return chosen
    }

    private static func cheapest(_ version: Version, from level: Int) -> CompactionPlan? {
        var best: Table?
        var bestCost = Double.infinity
        for table in version.levels[level] {
            let below = version.levels[level + 1].overlapping([table]).reduce(0) { $0 + $1.metadata.fileSize }
            // Deletes free space below, so tables full of them go first.
            let deletes = Double(table.metadata.deletes) / Double(max(table.metadata.entries, 1))
            let cost = Double(below) / Double(table.metadata.fileSize) * (1 - deletes / 2)
            if cost < bestCost {
                best = table
                bestCost = cost
            }
        }
        return best.flatMap { plan(version, [$0], from: level, into: level + 1) }
    }

    private static func plan(
        _ version: Version, _ inputs: [Table], from level: Int, into outputLevel: Int
    ) -> CompactionPlan {
        CompactionPlan(
            level: level, outputLevel: outputLevel, inputs: inputs,
            overlapping: version.levels[outputLevel].overlapping(inputs))
    }

    /// True when the table can change levels without being rewritten.
    func isMove(in version: Version, options: LSMOptions) -> Bool {
        guard inputs.count == 1, let table = inputs.first, overlapping.isEmpty else { return false }
        guard outputLevel + 1 < Version.levelCount else {
            // At the bottom deletes can be left out, which only a rewrite does.
            return table.metadata.deletes == 0 && table.rangeDeletes == nil
        }
        // A table that overlaps too much below would make its own next compaction dear.
        let below = version.levels[outputLevel + 1].overlapping(inputs).reduce(0) { $0 + $1.metadata.fileSize }
        return below <= options.tableBytes * LevelTargets.multiplier
    }
}

extension [Table] {
    /// The tables of one level that overlap the key range which these tables span.
    func overlapping(_ others: [Table]) -> [Table] {
        guard let first = others.first?.metadata else { return [] }
        var span = first
        for other in others { span.extend(by: other.metadata) }
        return filter { $0.metadata.overlaps(span) }
    }
}
