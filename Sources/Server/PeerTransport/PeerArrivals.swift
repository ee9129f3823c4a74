// What comes in from each peer: when something came, and on which connection. The newest connection of a peer on a lane
// replaces the one before it as soon as something comes on it: that one leads to an end which is gone without a word,
// and its own end is no news. One that never carries anything replaces nothing.
import Cluster
import Raft
import Synchronization

final class PeerArrivals: Sendable {
    /// Counts what came from one peer.
    final class Counter: Sendable {
        private let number = Atomic<UInt64>(0)
        var value: UInt64 { number.load(ordering: .relaxed) }
        fileprivate func count() { number.add(1, ordering: .relaxed) }
    }

    private struct Key: Hashable {
        var peer: NodeID
        var lane: PeerLane
    }
    private struct State {
        var counters: [NodeID: Counter] = [:]
        var current: [Key: IncomingConnection] = [:]
        var lastNumber: UInt64 = 0
    }
    private let state = Mutex(State())

    func counter(of peer: NodeID) -> Counter {
        state.withLock { state in
            if let counter = state.counters[peer] { return counter }
            let counter = Counter()
            state.counters[peer] = counter
            return counter
        }
    }

    /// A connection of a peer that was let in.
    /// - Parameter close: ends it; called at most once, from any thread, when a newer one took its place.
    func begin(from peer: NodeID, lane: PeerLane, close: @escaping @Sendable () -> Void) -> IncomingConnection {
        let number = state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        return IncomingConnection(
            peer: peer, lane: lane, number: number, counter: counter(of: peer), arrivals: self, close: close)
    }

    fileprivate func promote(_ connection: IncomingConnection) {
        let earlier = state.withLock { state -> IncomingConnection? in
            let key = Key(peer: connection.peer, lane: connection.lane)
            if let current = state.current[key], current.number > connection.number { return nil }
            return state.current.updateValue(connection, forKey: key)
        }
        earlier?.close()
    }

    fileprivate func end(_ connection: IncomingConnection) -> Bool {
        state.withLock { state in
            let key = Key(peer: connection.peer, lane: connection.lane)
            guard state.current[key] === connection else { return false }
            state.current[key] = nil
            return true
        }
    }
}

/// One connection on which a peer's messages come.
final class IncomingConnection: Sendable {
    let peer: NodeID
    let lane: PeerLane
    fileprivate let number: UInt64
    private let counter: PeerArrivals.Counter
    private let arrivals: PeerArrivals
    fileprivate let close: @Sendable () -> Void
    private let hasCarried = Atomic<Bool>(false)

    fileprivate init(
        peer: NodeID, lane: PeerLane, number: UInt64, counter: PeerArrivals.Counter, arrivals: PeerArrivals,
        close: @escaping @Sendable () -> Void
    ) {
        self.peer = peer
        self.lane = lane
        self.number = number
        self.counter = counter
        self.arrivals = arrivals
        self.close = close
    }

    /// Something came. From one thread at a time.
    func note() {
        counter.count()
        if hasCarried.load(ordering: .relaxed) { return }
        hasCarried.store(true, ordering: .relaxed)
        arrivals.promote(self)
    }

    /// It has ended.
    /// - Returns: whether that says something of the peer: it was the newest one, and had carried something.
    func end() -> Bool { arrivals.end(self) }
}
