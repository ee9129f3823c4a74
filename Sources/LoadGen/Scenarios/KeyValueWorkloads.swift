// What the key-value clients do over RESP: write, read at random, read everything back. Each keeps its promises in a
// ledger and checks every byte that it is given.
import LabKit

/// Writes random keys of each client's own range, so that no two clients write the same key.
struct KeyValueWriter: ClosedLoopWorkload {
    let codec: KeyValueCodec
    private(set) var ledger: KeyValueLedger
    private var random: SeededRandom
    private var current: [(key: UInt32, version: UInt32)]
    private let clients: Range<Int>
    private let keysPerClient: Int

    /// - Parameter keys: divided evenly among `clients`.
    init(codec: KeyValueCodec, keys: Range<UInt32>, clients: Range<Int>, seed: UInt64) {
        precondition(keys.count >= clients.count, "each client needs at least one key of its own")
        self.codec = codec
        self.clients = clients
        ledger = KeyValueLedger(keys: keys)
        random = SeededRandom(seed: seed, stream: UInt64(clients.lowerBound))
        current = Array(repeating: (0, 0), count: clients.count)
        keysPerClient = keys.count / clients.count
    }

    var requestBytesMax: Int { KeyValueCodec.keyBytes + codec.valueBytes + RESPRequest.overheadBytes }
    var payloadBytes: Int { KeyValueCodec.keyBytes + codec.valueBytes }
    var mustStop: Bool { ledger.isFull }
    var isExhausted: Bool { false }

    mutating func begin(_ client: Int) {
        let slot = client - clients.lowerBound
        let key = ledger.keys.lowerBound + UInt32(slot * keysPerClient + random.below(keysPerClient))
        current[slot] = (key, ledger.issue(key))
    }

    func compose(_ client: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let (key, version) = current[client - clients.lowerBound]
        return RESPRequest.set(
            into: buffer, keyCount: KeyValueCodec.keyBytes, valueCount: codec.valueBytes,
            key: { codec.writeKey(key, into: $0) }, value: { codec.writeValue(key: key, version: version, into: $0) })
    }

    mutating func complete(_ client: Int, _ reply: RESPReply) -> Bool {
        guard reply.kind == .status else { return false }
        let (key, version) = current[client - clients.lowerBound]
        ledger.acknowledge(key, version: version)
        return true
    }

    mutating func abandon(_ client: Int, mayBeApplied: Bool) {
        guard mayBeApplied else { return }
        let (key, version) = current[client - clients.lowerBound]
        ledger.markUnknown(key, version: version)
    }
}

/// What reads found, compared with a ledger.
struct ReadFindings: Sendable {
    var checked: UInt64 = 0
    var lost: UInt64 = 0
    var corrupt: UInt64 = 0
    var unknownApplied: UInt64 = 0
    var examples: [String] = []

    mutating func judge(_ key: UInt32, _ reply: RESPReply, _ ledger: KeyValueLedger, _ codec: KeyValueCodec) {
        let isPresent = reply.kind == .bulk
        let version = isPresent ? codec.version(of: key, in: reply.payload) : nil
        checked += 1
        switch ledger.judge(key, present: isPresent, version: version) {
        case .expected:
            return
        case .unknownApplied:
            unknownApplied += 1
        case .lost:
            lost += 1
            let promised = ledger.acknowledgedVersion(key)
            note("key \(codec.keyText(key)): version \(promised) was acknowledged, found \(text(isPresent, version))")
        case .corrupt:
            corrupt += 1
            note("key \(codec.keyText(key)): found \(text(isPresent, version)), which was never written or was refused")
        }
    }

    private func text(_ isPresent: Bool, _ version: UInt32?) -> String {
        isPresent ? version.map { "version \($0)" } ?? "other bytes" : "nothing"
    }

    private mutating func note(_ example: String) {
        if examples.count < VerificationResult.examplesMax { examples.append(example) }
    }
}

/// Reads random keys that were written before.
struct KeyValueReader: ClosedLoopWorkload {
    let codec: KeyValueCodec
    let ledger: KeyValueLedger
    private(set) var findings = ReadFindings()
    private var random: SeededRandom
    private var current: [UInt32]
    private let clients: Range<Int>

    init(codec: KeyValueCodec, ledger: KeyValueLedger, clients: Range<Int>, seed: UInt64) {
        precondition(!ledger.written.isEmpty, "reads need keys that were written")
        self.codec = codec
        self.ledger = ledger
        self.clients = clients
        random = SeededRandom(seed: seed, stream: UInt64(clients.lowerBound))
        current = Array(repeating: 0, count: clients.count)
    }

    var requestBytesMax: Int { KeyValueCodec.keyBytes + RESPRequest.overheadBytes }
    var payloadBytes: Int { KeyValueCodec.keyBytes + codec.valueBytes }
    var mustStop: Bool { false }
    var isExhausted: Bool { false }

    mutating func begin(_ client: Int) {
        current[client - clients.lowerBound] = ledger.written[random.below(ledger.written.count)]
    }

    func compose(_ client: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let key = current[client - clients.lowerBound]
        return RESPRequest.get(into: buffer, keyCount: KeyValueCodec.keyBytes) { codec.writeKey(key, into: $0) }
    }

    mutating func complete(_ client: Int, _ reply: RESPReply) -> Bool {
        guard reply.kind == .bulk || reply.kind == .null else { return false }
        findings.judge(current[client - clients.lowerBound], reply, ledger, codec)
        return true
    }

    mutating func abandon(_ client: Int, mayBeApplied: Bool) {}
}

/// Reads every key of several ledgers once. A read that fails is asked again until the loop's time is up.
struct KeyValueVerifier: ClosedLoopWorkload {
    let codec: KeyValueCodec
    private let ledgers: [KeyValueLedger]
    private(set) var findings = ReadFindings()
    /// Keys still to be read, with the ledger that knows of them.
    private(set) var pending: [(ledger: Int, key: UInt32)]
    private var current: [(ledger: Int, key: UInt32)]
    private let clients: Range<Int>

    init(codec: KeyValueCodec, ledgers: [KeyValueLedger], clients: Range<Int>) {
        self.codec = codec
        self.ledgers = ledgers
        self.clients = clients
        pending = ledgers.indices.flatMap { ledger in ledgers[ledger].touched.map { (ledger, $0) } }
        current = Array(repeating: (0, 0), count: clients.count)
    }

    var requestBytesMax: Int { KeyValueCodec.keyBytes + RESPRequest.overheadBytes }
    var payloadBytes: Int { KeyValueCodec.keyBytes + codec.valueBytes }
    var mustStop: Bool { false }
    var isExhausted: Bool { pending.isEmpty }

    mutating func begin(_ client: Int) {
        current[client - clients.lowerBound] = pending.removeLast()
    }

    func compose(_ client: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let key = current[client - clients.lowerBound].key
        return RESPRequest.get(into: buffer, keyCount: KeyValueCodec.keyBytes) { codec.writeKey(key, into: $0) }
    }

    mutating func complete(_ client: Int, _ reply: RESPReply) -> Bool {
        guard reply.kind == .bulk || reply.kind == .null else { return false }
        let (ledger, key) = current[client - clients.lowerBound]
        findings.judge(key, reply, ledgers[ledger], codec)
        return true
    }

    mutating func abandon(_ client: Int, mayBeApplied: Bool) {
        pending.append(current[client - clients.lowerBound])
    }
}
