// Clients that add to counters in sessions, through crashes: whatever happens to an answer, the same write is sent
// again, to any node, sometimes to two at a time. In the end each counter must be the sum of what was added, neither
// less nor more.
import Cluster
import KeyValue
import Storage
import StrataNode
import Synchronization
import Testing

final class CounterOracle: Sendable {
    private struct Client {
        var session: UInt64?
        var sequence: UInt64 = 1
        /// Answered writes.
        var done: UInt64 = 0
        /// Attempts whose answers are still to come; a crash may take them along.
        var underWay = 0
        var waited = 0
        var sum: Int64 = 0
        var lastAnswer: Int64 = 0
    }
    private struct State {
        var clients: [Client]
        var retried = 0
        var problems: [String] = []
    }
    private let state: Mutex<State>
    /// Rounds after which an answer is taken for lost.
    private static let patience = 20

    init(clients: Int) {
        state = Mutex(State(clients: Array(repeating: Client(), count: clients)))
    }

    private static func key(_ client: Int) -> [UInt8] { Array("counter-\(client)".utf8) }
    private static func amount(_ sequence: UInt64) -> Int64 { Int64(sequence % 7) - 2 }

    /// Lets every client that waits for nothing send something.
    func advance(in cluster: SimulatedCluster) {
        let count = state.withLock { $0.clients.count }
        for client in 0..<count {
            let isDue = state.withLock { state in
                state.clients[client].waited += 1
                guard state.clients[client].underWay == 0 || state.clients[client].waited > Self.patience else {
                    return false
                }
                state.clients[client].waited = 0
                state.clients[client].underWay = 0
                return true
            }
            guard isDue else { continue }
            send(client, cluster)
            if cluster.world.random.chance(0.2) { send(client, cluster) }
        }
    }

    private func send(_ client: Int, _ cluster: SimulatedCluster) {
        guard let node = cluster.nodes.filter(\.isUp).randomElement(using: &cluster.world.random)?.node else { return }
        let (session, sequence) = state.withLock { state in
            state.clients[client].underWay += 1
            return (state.clients[client].session, state.clients[client].sequence)
        }
        guard let session else {
            node.keyValue.openSession { [self] result in
                state.withLock { state in
                    state.clients[client].underWay = max(0, state.clients[client].underWay - 1)
                    guard case .success(let number) = result, state.clients[client].session == nil else { return }
                    state.clients[client].session = number
                }
            }
            return
        }
        let write = KeyValueWrite.increment(key: Self.key(client), by: Self.amount(sequence))
        let number = WriteSequence(client: session, sequence: sequence, acknowledged: sequence - 1)
        node.keyValue.write(write, session: number) { [self] result in
            state.withLock { Self.answered(&$0, client, sequence, result) }
        }
    }

    private static func answered(
        _ state: inout State, _ client: Int, _ sequence: UInt64, _ result: Result<UInt64, RequestError>
    ) {
        state.clients[client].underWay = max(0, state.clients[client].underWay - 1)
        // A late answer of a write that another attempt brought home.
        let isLate = state.clients[client].sequence != sequence
        switch result {
        case .success(let bits):
            let value = Int64(bitPattern: bits)
            if isLate {
                if sequence == state.clients[client].sequence - 1, value != state.clients[client].lastAnswer {
                    state.problems.append(
                        "write \(sequence) was answered \(state.clients[client].lastAnswer) and \(value)")
                }
                return
            }
            state.clients[client].sum += amount(sequence)
            state.clients[client].lastAnswer = value
            state.clients[client].done += 1
            state.clients[client].sequence += 1
            if value != state.clients[client].sum {
                state.problems.append("write \(sequence) was answered \(value), not \(state.clients[client].sum)")
            }
        case .failure(.invalid(let what, let text)) where !(isLate && what == .sequenceForgotten):
            state.problems.append("\(what): \(text)")
        case .failure:
            state.retried += 1
        }
    }

    /// Brings every write home and compares.
    func finish(in cluster: SimulatedCluster, seed: UInt64) {
        let targets = state.withLock { $0.clients.map { $0.done + 3 } }
        for _ in 0..<400 where !state.withLock({ zip($0.clients, targets).allSatisfy { $0.done >= $1 } }) {
            advance(in: cluster)
            cluster.world.run(for: 50_000_000)
        }
        // Attempts that are still under way end before the counters are read.
        cluster.world.run(for: 8_000_000_000)
        let end = state.withLock { $0 }
        #expect(end.problems.isEmpty, "seed \(seed): \(end.problems.prefix(3))")
        for (number, client) in end.clients.enumerated() {
            #expect(client.done >= targets[number], "seed \(seed): client \(number) did not finish")
            // A duplicate of the last one may have come home after the others; it must not have counted.
            for node in cluster.nodes {
                let value = try? node.node?.store.get(Self.key(number))
                let expected = Array("\(client.sum)".utf8)
                let withNext = Array("\(client.sum + Self.amount(client.sequence))".utf8)
                #expect(
                    value == expected || (client.underWay > 0 && value == withNext),
                    "seed \(seed): counter \(number) is \(String(decoding: value ?? [], as: UTF8.self)), not \(client.sum)"
                )
            }
        }
    }
}
