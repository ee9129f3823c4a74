// The fault proxy's thread: accepts, reads, holds back, writes, with poll(2) and nothing else. Bounded: a direction
// that holds its share of bytes is not read from, so that a cut or slow link pushes back on its sender as a real one
// does.
import Glibc
import LabKit

/// Owned by the proxy's thread.
struct ProxyLoop: ~Copyable {
    private struct Piece {
        var bytes: [UInt8]
        var sent = 0
        var due: UInt64
    }

    /// One direction of one connection.
    private struct Flow {
        var from: Int
        var to: Int
        var pieces: [Piece] = []
        var waitingBytes = 0
        var sourceEnded = false
        var isShut = false
        /// When the first byte met the black hole that it is in.
        var lostAt: UInt64?
        /// Nothing is delivered before this: until then nobody has sent the lost bytes again.
        var resumesAt: UInt64 = 0

        /// Whether the end of the stream, or a piece, waits to be delivered.
        var isWaiting: Bool { !pieces.isEmpty || (sourceEnded && !isShut) }
    }

    private enum Phase {
        /// A direction is cut: its server has not been called yet.
        case held
        case connecting
        case open
        case closed
    }

    /// Side 0 is who called, side 1 who was called; flow n reads from side n.
    private struct Connection {
        var link: Int
        var sockets: [Int32]
        var flows: [Flow]
        var phase = Phase.held
        var acceptedAt: UInt64
        /// It was called for while a direction was a black hole.
        var isLost = false
        /// When its server is called.
        var callsAt: UInt64 = 0
    }

    private static var waitingBytesMax: Int { 4 << 20 }
    private static var connectionsMax: Int { 1024 }
    private static var pieceBytes: Int { 64 << 10 }
    private static var pauseMillisecondsMax: Int32 { 200 }
    /// POLLRDHUP of Linux, which Glibc's module does not always show.
    private static var peerClosed: Int16 { 0x2000 }

    private let links: [ProxyLink]
    private let listeners: [Int32]
    private let waking: Int32
    private var connections: [Connection] = []
    private var random: SeededRandom
    private var buffer = [UInt8](repeating: 0, count: ProxyLoop.pieceBytes)
    private var now: UInt64 = 0
    private let bytes: LinkBytes

    init(_ links: [ProxyLink], listeners: [Int32], waking: Int32, seed: UInt64, bytes: LinkBytes) {
        self.bytes = bytes
        self.links = links
        self.listeners = listeners
        self.waking = waking
        random = SeededRandom(seed: seed, stream: 4242)
    }

    /// Waits for something to do, and does it under the rules that are in force after the wait. Ends early when they
    /// change. Returns false when there are none any more.
    mutating func turn(_ current: () -> [[LinkRules]]?) -> Bool {
        guard var rules = current() else { return false }
        now = MonotonicClock.now()
        for index in connections.indices { obey(index, rules) }
        connections.removeAll { $0.phase == .closed }
        var polls = [pollfd(fd: waking, events: Int16(POLLIN), revents: 0)]
        polls += listeners.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let first = polls.count
        var owners: [(connection: Int, side: Int)] = []
        for index in connections.indices {
            for side in 0..<2 {
                let events = interest(index, side, rules)
                guard events != 0 else { continue }
                polls.append(pollfd(fd: connections[index].sockets[side], events: events, revents: 0))
                owners.append((index, side))
            }
        }
        guard poll(&polls, nfds_t(polls.count), pause(rules)) >= 0 else { return true }
        guard let newest = current() else { return false }
        rules = newest
        now = MonotonicClock.now()
        if polls[0].revents != 0 { drainWakeUps() }
        for (number, owner) in owners.enumerated() where polls[first + number].revents != 0 {
            handle(owner.connection, owner.side, rules)
        }
        for index in connections.indices { obey(index, rules) }
        for index in connections.indices where connections[index].phase == .open { deliver(index, rules) }
        for link in links.indices where polls[1 + link].revents != 0 { accept(link) }
        connections.removeAll { $0.phase == .closed }
        return true
    }

    mutating func close() {
        for index in connections.indices { end(index) }
        for listener in listeners { Glibc.close(listener) }
        Glibc.close(waking)
    }

    private func isCut(_ flow: Flow, _ rules: [[LinkRules]]) -> Bool { rules[flow.from][flow.to].isCut }

    private func interest(_ index: Int, _ side: Int, _ rules: [[LinkRules]]) -> Int16 {
        let connection = connections[index]
        switch connection.phase {
        case .held, .closed: return 0
        case .connecting: return side == 1 ? Int16(POLLOUT) : 0
        case .open: break
        }
        var events: Int32 = 0
        if isReadable(connection.flows[side], rules) { events |= POLLIN }
        let incoming = connection.flows[1 - side]
        if let piece = incoming.pieces.first, max(piece.due, incoming.resumesAt) <= now, !isCut(incoming, rules) {
            events |= POLLOUT
        }
        return Int16(events)
    }

    /// A black hole is read from as well: when the first byte met it decides when the stream goes on.
    private func isReadable(_ flow: Flow, _ rules: [[LinkRules]]) -> Bool {
        guard !flow.sourceEnded, flow.waitingBytes < Self.waitingBytesMax else { return false }
        let cut = rules[flow.from][flow.to].cut
        return cut == nil || cut == .blackHole
    }

    /// Milliseconds until the next delayed piece is due, a stream goes on, or a server is called.
    private func pause(_ rules: [[LinkRules]]) -> Int32 {
        var pause = Self.pauseMillisecondsMax
        func wait(until moment: UInt64) {
            if moment > now { pause = min(pause, Int32(clamping: (moment - now + 999_999) / 1_000_000)) }
        }
        for connection in connections {
            if connection.phase == .held { wait(until: connection.callsAt) }
            for flow in connection.flows where flow.isWaiting && !isCut(flow, rules) {
                wait(until: max(flow.pieces.first?.due ?? 0, flow.resumesAt))
            }
        }
        return pause
    }

    /// Applies what the rules say about a connection as a whole: ends it, notes what a black hole took, calls its
    /// server.
    private mutating func obey(_ index: Int, _ rules: [[LinkRules]]) {
        let cuts = connections[index].flows.map { rules[$0.from][$0.to].cut }
        guard connections[index].phase != .closed else { return }
        if cuts.contains(.closed) { return end(index) }
        for side in 0..<2 where connections[index].phase == .open {
            let flow = connections[index].flows[side]
            if cuts[side] == .blackHole {
                if flow.isWaiting, flow.lostAt == nil { connections[index].flows[side].lostAt = now }
            } else if let lost = flow.lostAt, cuts[side] == nil {
                connections[index].flows[side].lostAt = nil
                connections[index].flows[side].resumesAt = Retransmission.next(
                    ofLoss: lost, firstPause: Retransmission.streamNanoseconds, notBefore: now)
            }
        }
        if connections[index].phase == .held { call(index, cuts) }
    }

    private func drainWakeUps() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while recv(waking, &bytes, bytes.count, Int32(MSG_DONTWAIT)) > 0 {}
    }

    private mutating func accept(_ link: Int) {
        let socket = Glibc.accept(listeners[link], nil, nil)
        guard socket >= 0 else { return }
        guard connections.count < Self.connectionsMax else {
            Glibc.close(socket)
            return
        }
        SocketAddress.prepare(socket)
        let (from, to) = (links[link].from, links[link].to)
        connections.append(
            Connection(
                link: link, sockets: [socket, -1], flows: [Flow(from: from, to: to), Flow(from: to, to: from)],
                acceptedAt: now))
    }

    /// Calls the server of a connection as soon as no direction is cut; behind a black hole at the moment at which a
    /// kernel would have asked again. Never for a caller that has given up meanwhile.
    private mutating func call(_ index: Int, _ cuts: [LinkCut?]) {
        if hasLeft(connections[index].sockets[0]) { return end(index) }
        if cuts.contains(where: { $0 != nil }) {
            if cuts.contains(.blackHole) { connections[index].isLost = true }
            return
        }
        if connections[index].isLost {
            connections[index].isLost = false
            connections[index].callsAt = Retransmission.next(
                ofLoss: connections[index].acceptedAt, firstPause: Retransmission.connectNanoseconds, notBefore: now)
        }
        guard connections[index].callsAt <= now else { return }
        let socket = links[connections[index].link].target.beginConnect()
        connections[index].sockets[1] = socket
        connections[index].phase = .connecting
        if socket < 0 { end(index) }
    }

    /// Whether the other end has closed its connection.
    private func hasLeft(_ socket: Int32) -> Bool {
        var waiting = pollfd(fd: socket, events: Self.peerClosed, revents: 0)
        return poll(&waiting, 1, 0) == 1
    }

    private mutating func handle(_ index: Int, _ side: Int, _ rules: [[LinkRules]]) {
        if connections[index].phase == .connecting {
            var code: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(connections[index].sockets[1], SOL_SOCKET, SO_ERROR, &code, &size)
            if code == 0 { connections[index].phase = .open } else { end(index) }
            return
        }
        guard connections[index].phase == .open else { return }
        let flow = connections[index].flows[side]
        guard isReadable(flow, rules) else { return }
        let count = recv(connections[index].sockets[side], &buffer, buffer.count, Int32(MSG_DONTWAIT))
        if count > 0 {
            let rule = rules[flow.from][flow.to]
            if rule.resetsPerMillion > 0, random.below(1_000_000) < rule.resetsPerMillion { return end(index) }
            connections[index].flows[side].pieces.append(
                Piece(bytes: Array(buffer[..<count]), due: now + rule.delay(&random)))
            connections[index].flows[side].waitingBytes += count
            bytes.add(count, from: flow.from, to: flow.to)
        } else if count == 0 {
            connections[index].flows[side].sourceEnded = true
        } else if errno != EAGAIN, errno != EINTR {
            end(index)
        }
    }

    /// Writes what is due, and passes on the end of a stream.
    private mutating func deliver(_ index: Int, _ rules: [[LinkRules]]) {
        for side in 0..<2 {
            guard !isCut(connections[index].flows[side], rules), connections[index].flows[side].resumesAt <= now else {
                continue
            }
            guard deliver(index, side) else { return end(index) }
            let flow = connections[index].flows[side]
            if flow.sourceEnded, flow.pieces.isEmpty, !flow.isShut {
                shutdown(connections[index].sockets[1 - side], Int32(SHUT_WR))
                connections[index].flows[side].isShut = true
            }
        }
        if connections[index].flows.allSatisfy(\.isShut) { end(index) }
    }

    /// - Returns: false when the receiver is gone.
    private mutating func deliver(_ index: Int, _ side: Int) -> Bool {
        let socket = connections[index].sockets[1 - side]
        while let piece = connections[index].flows[side].pieces.first, piece.due <= now {
            let count = piece.bytes[piece.sent...].withUnsafeBytes {
                send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            connections[index].flows[side].waitingBytes -= count
            if piece.sent + count < piece.bytes.count {
                connections[index].flows[side].pieces[0].sent += count
            } else {
                connections[index].flows[side].pieces.removeFirst()
            }
        }
        return true
    }

    /// Ends both sides at once. Shut down first: a child process may have inherited the descriptor.
    private mutating func end(_ index: Int) {
        for socket in connections[index].sockets where socket >= 0 {
            shutdown(socket, Int32(SHUT_RDWR))
            Glibc.close(socket)
        }
        connections[index].sockets = [-1, -1]
        connections[index].phase = .closed
    }
}
