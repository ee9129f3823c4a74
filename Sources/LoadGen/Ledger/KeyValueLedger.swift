// What the key-value workloads were promised: for each key the newest acknowledged version and every version whose fate
// is not known. Held in memory, 8 bytes a key plus the rare unknowns; it must never forget an acknowledgement.

/// The acknowledged state of a range of keys. One writer at a time: a key has at most one write under way.
struct KeyValueLedger: Sendable {
    /// Numbers of the keys that this ledger speaks of.
    let keys: Range<UInt32>
    /// Versions count from 1; 0 means never.
    private var issued: [UInt32]
    private var acknowledged: [UInt32]
    private var unknown: [UInt32: [UInt32]] = [:]
    private(set) var unknownCount = 0
    /// Keys in the order of their first acknowledgement.
    private(set) var written: [UInt32] = []

    /// Writes without a known outcome that one ledger remembers; beyond that the cluster is not working at all and the
    /// driver stops the run.
    static let unknownMax = 200_000

    var isFull: Bool { unknownCount >= KeyValueLedger.unknownMax }

    init(keys: Range<UInt32>) {
        self.keys = keys
        issued = Array(repeating: 0, count: keys.count)
        acknowledged = Array(repeating: 0, count: keys.count)
    }

    /// The version to write next to `key`.
    mutating func issue(_ key: UInt32) -> UInt32 {
        let index = Int(key - keys.lowerBound)
        issued[index] += 1
        return issued[index]
    }

    mutating func acknowledge(_ key: UInt32, version: UInt32) {
        let index = Int(key - keys.lowerBound)
        precondition(version > 0 && version <= issued[index], "only an issued version can be acknowledged")
        if acknowledged[index] == 0 {
            written.append(key)
        }
        acknowledged[index] = max(acknowledged[index], version)
    }

    /// The write may or may not have been applied, now or later.
    mutating func markUnknown(_ key: UInt32, version: UInt32) {
        unknown[key, default: []].append(version)
        unknownCount += 1
    }

    /// 0 when nothing was ever acknowledged.
    func acknowledgedVersion(_ key: UInt32) -> UInt32 {
        acknowledged[Int(key - keys.lowerBound)]
    }

    /// What a read of a key may find.
    enum Finding: Hashable {
        /// The newest acknowledged version, or nothing where nothing was promised.
        case expected
        /// A version of unknown outcome: it was applied after all.
        case unknownApplied
        /// Absent or older than what was acknowledged.
        case lost
        /// Bytes that this run never wrote to the key, or a write that the cluster said it had refused.
        case corrupt
    }

    /// Judges a read that began after every write had ended.
    /// - Parameters:
    ///   - present: whether the key was found.
    ///   - version: the version that the value turned out to be; nil when it is no value of this key.
    func judge(_ key: UInt32, present: Bool, version: UInt32?) -> Finding {
        let promised = acknowledgedVersion(key)
        guard present else { return promised == 0 ? .expected : .lost }
        guard let version, version > 0, version <= issued[Int(key - keys.lowerBound)] else { return .corrupt }
        if version == promised { return .expected }
        if unknown[key]?.contains(version) == true { return .unknownApplied }
        return version < promised ? .lost : .corrupt
    }

    /// Every key that was acknowledged or may have been written.
    var touched: [UInt32] {
        written + unknown.keys.filter { acknowledgedVersion($0) == 0 }.sorted()
    }
}
