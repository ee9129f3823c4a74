// What a person probably meant by a name that nobody knows. For settings, JSON fields and query parameters.

enum NearestName {
    /// The known name with the least edits from `word`, when they are few enough to be a slip; the first of several.
    /// - Complexity: O(n · m) for each known name.
    static func of(_ word: String, in known: [String]) -> String? {
        let folded = Array(word.lowercased().utf8.prefix(128))
        let distances = known.map { (name: $0, count: distance(folded, Array($0.lowercased().utf8))) }
        guard let best = distances.min(by: { $0.count < $1.count }) else { return nil }
        if best.count <= max(1, min(folded.count, best.name.utf8.count) / 3) { return best.name }
        // Cut short, or spelled out.
        return known.first { name in
            let name = Array(name.lowercased().utf8)
            return min(name.count, folded.count) >= 3 && (name.starts(with: folded) || folded.starts(with: name))
        }
    }

    /// "; did you mean 'x'?", or all names when none is near.
    static func hint(_ word: String, in known: [String]) -> String {
        if known.isEmpty { return "nothing is asked for here" }
        if let name = of(word, in: known) { return "did you mean '\(name)'?" }
        return known.count == 1 ? "there is only '\(known[0])'" : "known are " + known.joined(separator: ", ")
    }

    /// Levenshtein's: insertions, deletions, replacements; and, counted once, two neighbours in each other's place.
    static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in a.indices {
            var row = [i + 1]
            row.reserveCapacity(b.count + 1)
            for j in b.indices {
                var least = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, beforeLast[j - 1] + 1) }
                row.append(least)
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
