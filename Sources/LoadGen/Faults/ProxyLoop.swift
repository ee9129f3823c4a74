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
        /// Sockets that lose what comes for them: the way from their node is a black hole.
        var areDeaf = [false, false]
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
    /// Of the listeners: nothing reaches those of a black hole.
    private var areDeaf: [Bool]
    private var connections: [Connection] = []
    private var random: SeededRandom
    private var buffer = [UInt8](repeating: 0, count: ProxyLoop.pieceBytes)
    private var now: UInt64 = 0
    private let bytes: LinkBytes

    init(_ links: [ProxyLink], listeners: [Int32], waking: Int32, seed: UInt64, bytes: LinkBytes) {
        self.bytes = bytes
        areDeaf = links.map { _ in false }
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
        obey(rules)
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
        obey(rules)
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
        if let piece = incoming.pieces.first, piece.due <= now, !isCut(incoming, rules) {
            events |= POLLOUT
        }
        return Int16(events)
    }

    private func isReadable(_ flow: Flow, _ rules: [[LinkRules]]) -> Bool {
        !flow.sourceEnded && flow.waitingBytes < Self.waitingBytesMax && !isCut(flow, rules)
    }

    /// Milliseconds until the next delayed piece is due.
    private func pause(_ rules: [[LinkRules]]) -> Int32 {
        var pause = Self.pauseMillisecondsMax
        for connection in connections {
            for flow in connection.flows where !isCut(flow, rules) {
                guard let due = flow.pieces.first?.due, due > now else { continue }
                pause = min(pause, Int32(clamping: (due - now + 999_999) / 1_000_000))
            }
        }
        return pause
    }

    /// Applies what the rules say about links and connections as a whole: a black hole makes sockets deaf, a closing
    /// cut ends connections, and where nothing is cut servers are called.
    private mutating func obey(_ rules: [[LinkRules]]) {
        for link in links.indices {
            let isDeaf = [rules[links[link].from][links[link].to], rules[links[link].to][links[link].from]]
                .contains { $0.cut == .blackHole }
            if isDeaf != areDeaf[link], Deafness.set(isDeaf, on: listeners[link]) { areDeaf[link] = isDeaf }
        }
        for index in connections.indices { obey(index, rules) }
    }

    private mutating func obey(_ index: Int, _ rules: [[LinkRules]]) {
        guard connections[index].phase != .closed else { return }
        let cuts = connections[index].flows.map { rules[$0.from][$0.to].cut }
        if cuts.contains(.closed) { return end(index) }
        for side in 0..<2 where connections[index].sockets[side] >= 0 {
            let isDeaf = cuts[side] == .blackHole
            if isDeaf != connections[index].areDeaf[side], Deafness.set(isDeaf, on: connections[index].sockets[side]) {
                connections[index].areDeaf[side] = isDeaf
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
                link: link, sockets: [socket, -1], flows: [Flow(from: from, to: to), Flow(from: to, to: from)]))
    }

    /// Calls the server of a connection as soon as no direction is cut, but never for a caller that has given up
    /// meanwhile.
    private mutating func call(_ index: Int, _ cuts: [LinkCut?]) {
        if hasLeft(connections[index].sockets[0]) { return end(index) }
        guard cuts.allSatisfy({ $0 == nil }) else { return }
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
            guard !isCut(connections[index].flows[side], rules) else { continue }
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
