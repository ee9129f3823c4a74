// Stand-ins for the node behind the front ends: a store that keeps its keys in memory and answers from its own threads,
// as the engine does, with reads slower than writes or the other way round, and with faults on the keys that a test
// names.
import Cluster
import Dispatch
import KeyValue
import StrataNode
import Synchronization

/// An in-memory `KeyValueService`. Writes are applied in the order of the calls; reads run beside them.
final class FakeStore: KeyValueService {
    private struct State {
        var values: [[UInt8]: [UInt8]] = [:]
        var revision: UInt64 = 0
        var faults: [[UInt8]: RequestError] = [:]
        var readsInFlight = 0
        var readsInFlightMost = 0
        var callCount = 0
        var sequences: [WriteSequence] = []
        var isFrozen = false
        var frozen: [@Sendable () -> Void] = []
    }

    private let state = Mutex(State())
    private let writes = DispatchQueue(label: "fake store writes")
    private let reads = DispatchQueue(label: "fake store reads", attributes: .concurrent)
    private let writeMilliseconds: Int
    private let readMilliseconds: Int

    init(writeMilliseconds: Int = 0, readMilliseconds: Int = 0) {
        self.writeMilliseconds = writeMilliseconds
        self.readMilliseconds = readMilliseconds
    }

    /// Every request for this key fails so.
    func fail(_ key: String, with error: RequestError) {
        state.withLock { $0.faults[Array(key.utf8)] = error }
    }

    func value(_ key: String) -> [UInt8]? {
        state.withLock { $0.values[Array(key.utf8)] }
    }

    func set(_ key: String, _ value: [UInt8]) {
        state.withLock { $0.values[Array(key.utf8)] = value }
    }

    var revision: UInt64 { state.withLock { $0.revision } }
    var callCount: Int { state.withLock { $0.callCount } }
    /// The most reads that were in flight together.
    var readsInFlightMost: Int { state.withLock { $0.readsInFlightMost } }

    /// From here on requests are taken and not answered, until `thaw`.
    func freeze() {
        state.withLock { $0.isFrozen = true }
    }

    func thaw() {
        let held = state.withLock { state in
            state.isFrozen = false
            defer { state.frozen = [] }
            return state.frozen
        }
        for work in held { work() }
    }

    func write(
        _ write: KeyValueWrite, session: WriteSequence?,
        completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        let key = write.key
        if let session { state.withLock { $0.sequences.append(session) } }
        if case .deleteCounting(let keys) = write,
            let error = state.withLock({ state in
                keys.compactMap { Self.problem($0, 0) ?? state.faults[$0] }.first
            })
        {
            return completion(.failure(error))
        }
        self.write(key, completion) { state in
            switch write {
            case .put(_, let value): state.values[key] = value
            case .delete: state.values[key] = nil
            case .increment(_, let by):
                let number = (Int64(String(decoding: state.values[key] ?? [48], as: UTF8.self)) ?? 0) + by
                state.values[key] = Array(String(number).utf8)
                return UInt64(bitPattern: number)
            case .deleteCounting(let keys):
                return UInt64(keys.count { state.values.removeValue(forKey: $0) != nil })
            }
            return nil
        }
    }

    func openSession(completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        completion(.success(77))
    }

    func closeSession(_ client: UInt64, completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        completion(.success(0))
    }

    /// The sessions' numbers that writes came with.
    var sequences: [WriteSequence] { state.withLock { $0.sequences } }

    func get(
        key: [UInt8], consistency: ReadConsistency,
        completion: @escaping @Sendable (Result<[UInt8]?, RequestError>) -> Void
    ) {
        state.withLock { state in
            state.readsInFlight += 1
            state.readsInFlightMost = max(state.readsInFlightMost, state.readsInFlight)
        }
        submit(on: reads, after: readMilliseconds) {
            completion(
                self.state.withLock { state -> Result<[UInt8]?, RequestError> in
                    state.readsInFlight -= 1
                    if let error = Self.problem(key, 0) ?? state.faults[key] { return .failure(error) }
                    return .success(state.values[key])
                })
        }
    }

    private func write(
        _ key: [UInt8], _ completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void,
        _ change: @escaping @Sendable (inout State) -> UInt64?
    ) {
        submit(on: writes, after: writeMilliseconds) {
            completion(
                self.state.withLock { state -> Result<UInt64, RequestError> in
                    if let error = Self.problem(key, 0) ?? state.faults[key] { return .failure(error) }
                    let answer = change(&state)
                    state.revision += 1
                    return .success(answer ?? state.revision)
                })
        }
    }

    private func submit(on queue: DispatchQueue, after milliseconds: Int, _ work: @escaping @Sendable () -> Void) {
        let run: @Sendable () -> Void = {
            if milliseconds == 0 {
                queue.async(execute: work)
            } else {
                queue.asyncAfter(deadline: .now() + .milliseconds(milliseconds), execute: work)
            }
        }
        let isFrozen = state.withLock { state in
            state.callCount += 1
            if state.isFrozen { state.frozen.append(run) }
            return state.isFrozen
        }
        if !isFrozen { run() }
    }

    private static func problem(_ key: [UInt8], _ valueBytes: Int) -> RequestError? {
        if key.isEmpty { return .invalid(.emptyKey, "the key is empty; give it at least one byte") }
        if key.count > KeyValueLimits.keyBytesMax {
            return .invalid(.keyTooLong, "the key has \(key.count) bytes; \(KeyValueLimits.keyBytesMax) are allowed")
        }
        return nil
    }
}

/// A node with whatever status a test gives it.
final class FakeNode: NodeStatusService {
    private let current: Mutex<NodeStatus>

    init(_ status: NodeStatus = FakeNode.leading) {
        current = Mutex(status)
    }

    func status() -> NodeStatus {
        current.withLock { $0 }
    }

    func change(_ change: (inout NodeStatus) -> Void) {
        current.withLock { change(&$0) }
    }

    static let leading = NodeStatus(
        nodeID: "node1", clusterID: "c1", state: "leader", term: 3, commitIndex: 17, logLength: 18,
        leader: MemberAddress(name: "node1", address: "127.0.0.1:7001"), isLeader: true, isHealthy: true, problem: nil)
}

/// Hashes of a state that never was.
final class FakeHashes: StateHashService {
    /// Keeps what it is asked for open, with the word of the asker on whether it is over.
    private let isHanging: Bool
    let hanging = Mutex<[@Sendable () -> Bool]>([])

    init(isHanging: Bool = false) {
        self.isHanging = isHanging
    }

    func stateHash(
        group: GroupID, index: UInt64?, from: UInt64?, unless isOver: @escaping @Sendable () -> Bool,
        completion: @escaping @Sendable (Result<GroupStateHash, RequestError>) -> Void
    ) {
        if isHanging { return hanging.withLock { $0.append(isOver) } }
        guard group != .controller else { return completion(.failure(.unavailable("not here"))) }
        completion(
            .success(
                GroupStateHash(
                    group: group, applied: index ?? 7, hash: 0xabc, first: from ?? 1, sessions: 0xdef, keys: 2)))
    }
}
