// Sessions of the key-value machine, entry by entry: applied once, answered again, forgotten, expired, evicted, and
// there again after a restart; on both engines, and out of users' sight.
import Raft
import SegmentedLog
import SimulatedIO
import Storage
import Testing

@testable import Cluster
@testable import KeyValue

/// A machine that is fed by hand.
private final class Fed {
    let fileSystem: SimulatedFileSystem
    let engine: StorageEngineKind
    private(set) var store: any KeyValueStore
    var machine: KeyValueMachine
    private var limits: SessionLimits
    private(set) var index: UInt64 = 0

    init(_ engine: StorageEngineKind, limits: SessionLimits = SessionLimits()) throws {
        self.engine = engine
        self.limits = limits
        fileSystem = SimulatedFileSystem(seed: 1)
        try fileSystem.createDirectory("kv")
        let store = try Self.open(engine, fileSystem)
        self.store = store
        machine = try KeyValueMachine(store: store, limits: limits, clock: { 0 })
    }

    private static func open(_ engine: StorageEngineKind, _ system: SimulatedFileSystem) throws -> any KeyValueStore {
        try openStore(kind: engine, directory: "kv", fileSystem: system, options: StoreOptions())
    }

    private func remake() throws {
        machine = try KeyValueMachine(store: store, limits: limits, clock: { 0 })
    }

    /// Flushes and opens everything again; the time of sessions goes on from the log.
    func restart(flush: Bool = true) throws {
        if flush { try store.flush() }
        store.close()
        store = try Self.open(engine, fileSystem)
        index = store.applied.index
        try remake()
    }

    /// Applies several commands as one entry; one answer for each.
    func apply(_ commands: [[UInt8]], time: UInt64 = 0) throws -> [Result<UInt64, RequestError>] {
        var payload = commands.count == 1 ? commands[0] : try #require(machine.join(commands))
        if CommandList.isList(payload) { CommandList.stamp(&payload, time: time) }
        index += 1
        let header = FrameHeader(
            kind: .command, payloadCount: UInt32(payload.count), recordCount: 0, index: index, term: 1, baseOffset: 0)
        let result = try machine.apply(CommittedEntry(index: index, term: 1, header: header, payload: payload[...]))
        return machine.answers.isEmpty ? [result] : machine.answers
    }

    func one(_ command: [UInt8], time: UInt64 = 0) throws -> Result<UInt64, RequestError> {
        try apply([command], time: time)[0]
    }

    func open(time: UInt64 = 0) throws -> UInt64 {
        try one(CommandList.encode([KeyValueCommand(action: .openSession)]), time: time).get()
    }

    func value(_ key: String) throws -> String? {
        try store.get(Array(key.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }
}

private func plain(_ key: String, _ value: String) throws -> [UInt8] {
    var batch = WriteBatch()
    try batch.put(key: Array(key.utf8), value: Array(value.utf8))
    return batch.bytes
}

private func put(_ key: String, _ value: String, _ session: WriteSequence) throws -> [UInt8] {
    CommandList.encode([
        KeyValueCommand(action: .write(try WriteBatch(validating: plain(key, value))), session: session)
    ])
}

private func add(_ key: String, _ by: Int64, _ session: WriteSequence? = nil) -> [UInt8] {
    CommandList.encode([KeyValueCommand(action: .increment(key: Array(key.utf8), by: by), session: session)])
}

private func fails(_ result: Result<UInt64, RequestError>, _ what: RequestError.Invalid) -> Bool {
    if case .failure(.invalid(what, _)) = result { return true }
    return false
}

@Suite struct SessionTests {
    @Test(arguments: [StorageEngineKind.lsm, .hashlog])
    func aRetriedWriteIsAppliedOnceAndAnsweredAgain(engine: StorageEngineKind) throws {
        let fed = try Fed(engine)
        let client = try fed.open()
        let first = WriteSequence(client: client, sequence: 1)
        let answer = try fed.one(put("k", "a", first))
        #expect(try fed.one(plain("k", "b")) != answer)
        #expect(try fed.one(put("k", "a", first)) == answer)
        #expect(try fed.value("k") == "b")
        let second = WriteSequence(client: client, sequence: 2, acknowledged: 1)
        #expect(try fed.one(add("n", 5, second)) == .success(5))
        #expect(try fed.one(add("n", 5, second)) == .success(5))
        // Twice in one entry, too, beside a write of nobody's session.
        let third = WriteSequence(client: client, sequence: 3)
        let answers = try fed.apply([add("n", -7, third), plain("x", "y"), add("n", -7, third), add("n", 1)])
        #expect(try answers[0].get() == UInt64(bitPattern: -2) && answers[2] == answers[0])
        #expect(try answers[3].get() == UInt64(bitPattern: -1))
        #expect(try fed.value("n") == "-1" && fed.value("x") == "y")
        #expect(fails(try fed.one(put("k", "a", first)), .sequenceForgotten))
        for flush in [true, false] {
            try fed.restart(flush: flush)
            #expect(try fed.one(add("n", -7, third)) == answers[0], "after a restart")
            #expect(try fed.value("n") == "-1")
        }
    }

    @Test func answersAndSessionsAreBounded() throws {
        var limits = SessionLimits()
        limits.answersMax = 4
        limits.sessionsMax = 3
        limits.idleMillisecondsMax = 1000
        let fed = try Fed(.lsm, limits: limits)
        let clients = try (0..<3).map { _ in try fed.open() }
        #expect(Set(clients).count == 3)
        for sequence in 1...6 as ClosedRange<UInt64> {
            #expect(
                try fed.one(add("n", 1, WriteSequence(client: clients[0], sequence: sequence))) == .success(sequence))
        }
        #expect(fails(try fed.one(add("n", 1, WriteSequence(client: clients[0], sequence: 2))), .sequenceForgotten))
        #expect(try fed.one(add("n", 1, WriteSequence(client: clients[0], sequence: 3))) == .success(3))
        // A fourth session takes the place of the one that was used least recently.
        let fourth = try fed.open()
        #expect(fails(try fed.one(add("n", 1, WriteSequence(client: clients[1], sequence: 1))), .sessionExpired))
        #expect(try fed.one(add("n", 1, WriteSequence(client: fourth, sequence: 1))) == .success(7))
        #expect(try fed.one(add("n", 1, WriteSequence(client: clients[2], sequence: 1)), time: 900) == .success(8))
        // Time is the log's: the others are over, the one used at 900 is not.
        #expect(
            fails(try fed.one(add("n", 1, WriteSequence(client: fourth, sequence: 2)), time: 1500), .sessionExpired))
        #expect(try fed.one(add("n", 1, WriteSequence(client: clients[2], sequence: 2)), time: 1500) == .success(9))
        try fed.restart()
        #expect(
            fails(try fed.one(add("n", 1, WriteSequence(client: fourth, sequence: 2)), time: 1600), .sessionExpired))
        #expect(try fed.one(add("n", 1, WriteSequence(client: clients[2], sequence: 2)), time: 1600) == .success(9))
        #expect(try fed.one(CommandList.encode([.init(action: .closeSession(client: clients[2]))])) == .success(0))
        #expect(fails(try fed.one(add("n", 1, WriteSequence(client: clients[2], sequence: 3))), .sessionExpired))
        #expect(try fed.value("n") == "9")
    }

    /// Entries that reached the store without this machine (a snapshot that was installed) are noticed.
    @Test func aStoreThatJumpedAheadIsReadAgain() throws {
        let fed = try Fed(.lsm)
        let client = try fed.open()
        let session = WriteSequence(client: client, sequence: 1)
        let behind = try KeyValueMachine(store: fed.store, clock: { 0 })
        #expect(try fed.one(add("n", 4, session)) == .success(4))
        fed.machine = behind
        #expect(try fed.one(add("n", 4, session)) == .success(4))
        #expect(try fed.one(add("n", 4, WriteSequence(client: client, sequence: 2))) == .success(8))
        #expect(try fed.value("n") == "8")
    }

    @Test func incrementsNeedIntegers() throws {
        let fed = try Fed(.lsm)
        let client = try fed.open()
        for text in ["x", "", "1.5", " 1", "+1", "01", "9223372036854775808"] {
            _ = try fed.one(plain("k", text))
            #expect(fails(try fed.one(add("k", 1)), .notAnInteger), "\(text)")
            #expect(try fed.value("k") == text)
        }
        let session = WriteSequence(client: client, sequence: 1)
        #expect(fails(try fed.one(add("k", 1, session)), .notAnInteger))
        _ = try fed.one(plain("k", "9223372036854775807"))
        // The retry gets the first answer, although it would end otherwise now.
        #expect(fails(try fed.one(add("k", -1, session)), .notAnInteger))
        #expect(fails(try fed.one(add("k", 1)), .notAnInteger))
        #expect(try fed.one(add("k", -1)) == .success(UInt64(Int64.max - 1)))
        // Within an entry an increment sees what stands before it.
        var batch = WriteBatch()
        try batch.put(key: Array("k".utf8), value: Array("1".utf8))
        try batch.delete(key: Array("k".utf8))
        let answers = try fed.apply([plain("k", "40"), add("k", 2), batch.bytes, add("k", 3)])
        #expect(try answers.count == 5 && answers[1].get() == 42 && answers[4].get() == 3)
        #expect(try answers[3].get() == answers[2].get() + 1)
    }

    /// The same commands in the same entries leave the same state on every engine; the sessions are apart from the
    /// keys.
    @Test func sessionsStayOutOfSight() throws {
        var hashes: [StoreHash] = []
        for engine in [StorageEngineKind.lsm, .hashlog] {
            let fed = try Fed(engine)
            let before = try fed.store.freeze()
            let client = try fed.open()
            _ = try fed.apply([plain("a", "b"), add("n", 1, WriteSequence(client: client, sequence: 1))])
            let hash = try fed.store.freeze().hash(apart: KeyValueLimits.reservedPrefix)
            #expect(hash.count == 2)
            #expect(try before.hash(apart: KeyValueLimits.reservedPrefix) == StoreHash())
            hashes.append(hash)
            let visible = try fed.store.scan(from: KeyValueLimits.reservedPrefix + [0xFF], to: nil, limit: 10)
            #expect(visible.map(\.key) == [Array("a".utf8), Array("n".utf8)])
        }
        #expect(hashes[0] == hashes[1] && hashes[0].apart != 0)
        #expect(KeyValueLimits.check(key: KeyValueLimits.reservedPrefix + [1]) != nil)
    }

    @Test func damagedListsAreRefused() throws {
        let list = CommandList.encode([
            KeyValueCommand(action: .increment(key: [1, 2], by: 3), session: WriteSequence(client: 1, sequence: 2)),
            KeyValueCommand(action: .openSession), KeyValueCommand(action: .closeSession(client: 4)),
            KeyValueCommand(action: .write(try WriteBatch(validating: plain("a", "b")))),
        ])
        #expect(CommandList.decode(list[...])?.commands.count == 4)
        for end in 0..<list.count { #expect(CommandList.decode(list[..<end]) == nil, "cut at \(end)") }
        for position in list.indices {
            for bit in 0..<8 as Range<UInt8> {
                var damaged = list
                damaged[position] ^= 1 << bit
                _ = CommandList.decode(damaged[...])
            }
        }
    }

    /// A list's count is what its sender claims; the sum of two trapped.
    @Test func listsThatClaimTooManyCommandsAreNotJoined() {
        var list = CommandList.encode([KeyValueCommand(action: .openSession)])
        list.replaceSubrange(8..<12, with: [0xff, 0xff, 0xff, 0xff])
        #expect(CommandList.join([list, list]) == nil)
        #expect(CommandList.join([list, WriteBatch().bytes]) == nil)
    }
}
