// The memtable's skip list alone: one thread, in process, a million entries of 16 + 100 bytes, put and got in key
// order. The floor under everything that the store can do.
import LabKit
import Memory
import Storage

enum SkipListScenario {
    static let entries = 1_000_000
    static let keyBytes = 16
    static let valueBytes = 100

    /// - Returns: one result for put, one for get.
    static func run(live: LiveCounters) throws(LoadGenError) -> [ScenarioResult] {
        let list = try emptyList()
        var key = [UInt8](repeating: 0, count: keyBytes)
        let value = [UInt8](repeating: 0x5A, count: valueBytes)
        let putStart = MonotonicClock.now()
        var inserted = 0
        key.withUnsafeMutableBytes { key in
            value.withUnsafeBytes { value in
                for number in 0..<entries {
                    write(number, into: key)
                    inserted +=
                        list.insert(
                            key: UnsafeRawBufferPointer(key), sequence: UInt64(number + 1), kind: .put, value: value)
                        ? 1 : 0
                }
            }
        }
        let putSeconds = MonotonicClock.seconds(from: putStart, to: MonotonicClock.now())
        live.add(ok: UInt64(inserted))
        try Interruption.check()
        let getStart = MonotonicClock.now()
        var found = 0
        key.withUnsafeMutableBytes { key in
            var hint: SkipListNode = 0
            for number in 0..<entries {
                write(number, into: key)
                let node = list.find(UnsafeRawBufferPointer(key), hint: &hint)
                // The sequence proves that it is this entry; reading it touches the node, as a reader would.
                found += node != 0 && list.sequence(of: node) == UInt64(number + 1) ? 1 : 0
            }
        }
        let getSeconds = MonotonicClock.seconds(from: getStart, to: MonotonicClock.now())
        live.add(ok: UInt64(found))
        guard inserted == entries, found == entries else {
            throw LoadGenError.failed("the skip list took \(inserted) of \(entries) entries and found \(found) again")
        }
        return [result("put", putSeconds), result("get", getSeconds)]
    }

    private static func emptyList() throws(LoadGenError) -> SkipList {
        let capacity = SkipList.bytesNeeded(keyBytes: keyBytes, valueBytes: valueBytes) * entries + 1 << 20
        do throws(MemoryError) {
            return try SkipList(capacity: capacity, source: try PageSource(.arena), seed: 1)
        } catch {
            throw LoadGenError.failed("no memory for the skip list: \(error)")
        }
    }

    /// Rising with `number` in byte order.
    private static func write(_ number: Int, into key: UnsafeMutableRawBufferPointer) {
        key.storeBytes(of: UInt64(number).bigEndian, toByteOffset: 8, as: UInt64.self)
    }

    private static func result(_ operation: String, _ seconds: Double) -> ScenarioResult {
        let rate = Double(entries) / seconds
        return ScenarioResult(
            scenario: "skiplist_\(operation)", operation: operation,
            title: "1 thread, \(NumberText.grouped(UInt64(entries))) entries of 16 + 100 B, in key order",
            loop: .inProcess, clients: 1, windowSeconds: seconds, counts: OperationCounts(ok: UInt64(entries)),
            operationsPerSecond: rate, payloadBytesPerSecond: rate * Double(keyBytes + valueBytes))
    }
}
