// Commands of the key-value group: deletions that count, at one moment and exactly once; and commands that nobody can
// read, which are refused before they are proposed and do nothing when they are committed all the same.
import Raft
import SegmentedLog
import SimulatedIO
import Storage
import Testing

@testable import Cluster
@testable import KeyValue

/// A machine over a store, fed entry by entry.
private final class Bench {
    let machine: KeyValueMachine
    let store: any KeyValueStore
    let diagnostics = Diagnostics()
    private(set) var index: UInt64 = 0

    init(_ engine: StorageEngineKind) throws {
        let fileSystem = SimulatedFileSystem(seed: 1)
        try fileSystem.createDirectory("kv")
        store = try openStore(kind: engine, directory: "kv", fileSystem: fileSystem, options: StoreOptions())
        machine = try KeyValueMachine(store: store, diagnostics: diagnostics, clock: { 0 })
    }

    func apply(_ payload: [UInt8]) throws -> [Result<UInt64, RequestError>] {
        index += 1
        let header = FrameHeader(
            kind: .command, payloadCount: UInt32(payload.count), recordCount: 0, index: index, term: 1, baseOffset: 0)
        let result = try machine.apply(CommittedEntry(index: index, term: 1, header: header, payload: payload[...]))
        return machine.answers.isEmpty ? [result] : machine.answers
    }

    func put(_ key: String, _ value: String = "v") throws {
        var batch = WriteBatch()
        try batch.put(key: Array(key.utf8), value: Array(value.utf8))
        _ = try apply(batch.bytes)
    }

    func has(_ key: String) throws -> Bool { try store.get(Array(key.utf8)) != nil }
}

private func delete(_ keys: String..., session: WriteSequence? = nil) -> [UInt8] {
    CommandList.encode([
        KeyValueCommand(action: .deleteCounting(keys: keys.map { Array($0.utf8) }), session: session)
    ])
}

@Suite struct CommandTests {
    private static let engines = [StorageEngineKind.lsm, .hashlog]

    @Test(arguments: engines)
    func ofTwoDeletionsOfOneKeyExactlyOneCountsIt(engine: StorageEngineKind) throws {
        let bench = try Bench(engine)
        for _ in 0..<100 {
            try bench.put("r")
            #expect(try bench.apply(delete("r")) == [.success(1)])
            #expect(try bench.apply(delete("r")) == [.success(0)])
            // Joined into one entry, too.
            try bench.put("r")
            let joined = try #require(bench.machine.join([delete("r"), delete("r")]))
            #expect(try bench.apply(joined) == [.success(1), .success(0)])
            #expect(try !bench.has("r"))
        }
    }

    @Test(arguments: engines)
    func aDeletionOfSeveralKeysCountsEachThatExistedOnce(engine: StorageEngineKind) throws {
        let bench = try Bench(engine)
        for key in ["a", "b", "c"] { try bench.put(key) }
        #expect(try bench.apply(delete("a", "missing", "b", "a")) == [.success(2)])
        #expect(try [bench.has("a"), bench.has("b"), bench.has("c")] == [false, false, true])
        // It sees the writes that stand before it in its entry.
        var batch = WriteBatch()
        try batch.put(key: Array("d".utf8), value: [1])
        let joined = try #require(bench.machine.join([batch.bytes, delete("d", "c", "e"), delete("d")]))
        #expect(try bench.apply(joined).suffix(2) == [.success(2), .success(0)])
    }

    @Test(arguments: engines)
    func aRepeatedDeletionOfASessionIsAnsweredAsTheFirst(engine: StorageEngineKind) throws {
        let bench = try Bench(engine)
        let client = try bench.apply(CommandList.encode([KeyValueCommand(action: .openSession)]))[0].get()
        try bench.put("k")
        let first = WriteSequence(client: client, sequence: 1)
        #expect(try bench.apply(delete("k", session: first)) == [.success(1)])
        #expect(try bench.apply(delete("k", session: first)) == [.success(1)])
        #expect(try bench.apply(delete("k")) == [.success(0)])
    }

    private static func unreadable() throws -> [[UInt8]] {
        var batch = WriteBatch()
        try batch.put(key: [1], value: [2])
        let list = CommandList.encode([KeyValueCommand(action: .increment(key: [1], by: 1))])
        var newer = list
        newer[24] = 0x7f
        return [
            [], [9], Array("garbage".utf8), Array(batch.bytes.dropLast()), batch.bytes + [0], Array(list.dropLast(3)),
            newer,
            [1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0],
            [UInt8](repeating: 0xff, count: 100), [1],
        ]
    }

    @Test(arguments: engines)
    func whatCannotBeReadIsRefusedBeforeItIsProposed(engine: StorageEngineKind) throws {
        let bench = try Bench(engine)
        for payload in try Self.unreadable() { #expect(bench.machine.validate(payload) != nil, "\(payload)") }
        #expect(bench.machine.validate(delete("a", "b")) == nil)
        #expect(bench.machine.validate(CommandList.encode([KeyValueCommand(action: .openSession)])) == nil)
        var plain = WriteBatch()
        try plain.put(key: [1], value: [2])
        #expect(bench.machine.validate(plain.bytes) == nil)
        // Well formed, and none of a client's business.
        let long = [UInt8](repeating: 1, count: KeyValueLimits.keyBytesMax + 1)
        let own = KeyValueLimits.reservedPrefix + Array("sessions".utf8)
        for key in [[], long, own] {
            for action in [KeyValueCommand.Action.increment(key: key, by: 1), .deleteCounting(keys: [[1], key])] {
                #expect(bench.machine.validate(CommandList.encode([KeyValueCommand(action: action)])) != nil)
            }
        }
        var reserved = WriteBatch()
        try reserved.put(key: own, value: [0])
        #expect(bench.machine.validate(reserved.bytes) != nil)
    }

    /// On every replica alike: the entry counts as applied, nothing of it is written, and what follows is applied.
    @Test(arguments: engines)
    func whatCannotBeReadAndWasCommittedFailsAndChangesNothing(engine: StorageEngineKind) throws {
        let bench = try Bench(engine)
        try bench.put("k")
        var expected: UInt64 = 0
        let hash = try bench.store.stateHash()
        for payload in try Self.unreadable() {
            let answers = try bench.apply(payload)
            guard answers.count == 1, case .failure(.invalid) = answers[0] else {
                Issue.record("\(payload): \(answers)")
                continue
            }
            expected += 1
            #expect(try bench.store.stateHash() == hash)
            #expect(bench.store.applied.index == bench.index)
        }
        #expect(bench.diagnostics.total(of: .unreadableCommand) == expected)
        // A key that is too long for the store, behind a write that is not.
        var good = WriteBatch()
        try good.put(key: [7], value: [7])
        let long = [UInt8](repeating: 1, count: KeyValueLimits.keyBytesMax + 1)
        let list = CommandList.encode([
            KeyValueCommand(action: .openSession), KeyValueCommand(action: .write(good)),
            KeyValueCommand(action: .increment(key: long, by: 1)),
        ])
        let answers = try bench.apply(list)
        guard case .failure(.invalid) = answers[0] else {
            Issue.record("\(answers)")
            return
        }
        #expect(try bench.store.stateHash() == hash)
        try bench.put("later")
        #expect(try bench.has("later"))
    }
}
