// The closed loop over RESP: each client has one connection and one operation under way, and starts the next when the
// answer is there. One thread serves many clients; it takes no lock and allocates nothing per operation. Its latencies
// are service times: they say nothing about waiting under a given load.
import LabKit

/// What the clients of a closed loop do. A value owned by one thread.
protocol ClosedLoopWorkload: Sendable {
    /// The largest request in bytes.
    var requestBytesMax: Int { get }
    /// Payload bytes of one completed operation.
    var payloadBytes: Int { get }
    /// True when the workload can take no more unknown outcomes: the loop stops.
    var mustStop: Bool { get }
    /// True when there is nothing left to begin; the loop ends before its window when all clients are done.
    var isExhausted: Bool { get }

    /// Chooses the client's next operation.
    mutating func begin(_ client: Int)
    /// Writes the client's current operation; called again when it is retried.
    func compose(_ client: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int
    /// The current operation was answered. False when that is no answer to it.
    mutating func complete(_ client: Int, _ reply: RESPReply) -> Bool
    /// The current operation ended without success.
    /// - Parameter mayBeApplied: its outcome is not known.
    mutating func abandon(_ client: Int, mayBeApplied: Bool)
}

struct ClosedLoopPlan: Sendable {
    /// Client `c` talks to endpoint `c mod count`, and moves on when that one fails.
    var endpoints: [SocketAddress]
    /// Numbers of this thread's clients.
    var clients: Range<Int>
    var warmupSeconds: Double
    var windowSeconds: Double
    /// An operation that is not answered after this long is given up: its outcome is unknown.
    var giveUpSeconds = 10.0
}

/// What one thread of a closed loop measured.
struct ClosedLoopOutcome<Workload: ClosedLoopWorkload>: Sendable {
    var workload: Workload
    /// `ok` counts completions inside the window; errors and unknowns count whenever they happened.
    var counts = OperationCounts()
    /// Of the operations that completed inside the window.
    var service = LatencyHistogram()
    /// The first refusal, for people.
    var firstError: String?
}

/// Runs the clients of one thread.
struct ClosedLoop<Workload: ClosedLoopWorkload>: ~Copyable {
    private struct Client {
        var endpoint: Int
        /// When the current operation was first sent or tried; 0 when there is none.
        var begun: UInt64 = 0
        /// The current operation reached the wire on this connection.
        var isSent = false
        /// When to connect or send again; 0 when not waiting.
        var resumeAt: UInt64 = 0
    }

    private static var retryPauseNanoseconds: UInt64 { 5_000_000 }
    private static var tickNanoseconds: UInt64 { 50_000_000 }

    private let plan: ClosedLoopPlan
    private let live: LiveCounters
    private var outcome: ClosedLoopOutcome<Workload>
    private var clients: [Client]
    private let connections: [RESPConnection]
    private let poller: Poller
    private var windowStart: UInt64 = 0
    private var windowEnd: UInt64 = 0
    private var outstanding = 0
    private var unshown = OperationCounts()

    /// Runs `workload` to its end on the calling thread.
    static func run(
        _ plan: ClosedLoopPlan, _ workload: Workload, live: LiveCounters
    ) throws(LoadGenError) -> ClosedLoopOutcome<Workload> {
        var loop = try ClosedLoop(plan, workload, live: live)
        try loop.run()
        return loop.outcome
    }

    private init(_ plan: ClosedLoopPlan, _ workload: Workload, live: LiveCounters) throws(LoadGenError) {
        precondition(!plan.endpoints.isEmpty, "a load needs somewhere to go")
        self.plan = plan
        self.live = live
        outcome = ClosedLoopOutcome(workload: workload)
        clients = plan.clients.map { Client(endpoint: $0 % plan.endpoints.count) }
        connections = plan.clients.map { _ in RESPConnection(requestBytesMax: workload.requestBytesMax) }
        poller = Poller(slots: connections.count)
    }

    private mutating func run() throws(LoadGenError) {
        let start = MonotonicClock.now()
        windowStart = start + UInt64(plan.warmupSeconds * 1e9)
        windowEnd = windowStart + UInt64(plan.windowSeconds * 1e9)
        let drainEnd = windowEnd + UInt64(plan.giveUpSeconds * 1e9)
        for slot in clients.indices {
            connect(slot, at: start)
        }
        var nextTick = start
        while true {
            let now = MonotonicClock.now()
            if now >= nextTick {
                nextTick = now + ClosedLoop.tickNanoseconds
                tick(now)
                try Interruption.check()
                if outcome.workload.mustStop {
                    throw LoadGenError.cluster("too many writes ended without an answer; the run stops")
                }
            }
            if now >= windowEnd, outstanding == 0 || now >= drainEnd { break }
            if outstanding == 0, outcome.workload.isExhausted { break }
            let wake = resume(now)
            step(until: min(nextTick, wake))
        }
        for slot in clients.indices where clients[slot].begun > 0 {
            giveUp(slot)
        }
        publish()
    }

    /// Handles the sockets that are ready.
    private mutating func step(until deadline: UInt64) {
        guard poller.wait(until: deadline) else { return }
        let now = MonotonicClock.now()
        for slot in clients.indices where poller.isReady(slot) {
            handle(slot, now)
        }
    }

    private mutating func handle(_ slot: Int, _ now: UInt64) {
        let connection = connections[slot]
        switch connection.state {
        case .closed:
            return
        case .connecting:
            guard connection.finishConnecting() else { return fail(slot, now) }
            poller.watch(slot, connection.descriptor, wantsWrite: false)
            start(slot, now)
        case .open:
            if connection.hasUnsentBytes {
                guard connection.flush() else { return fail(slot, now) }
                if !connection.hasUnsentBytes {
                    poller.watch(slot, connection.descriptor, wantsWrite: false)
                }
            }
            let isAlive = connection.receive()
            guard takeReplies(slot, now) else { return }
            if !isAlive { fail(slot, now) }
        }
    }

    /// False when the connection was given up meanwhile.
    private mutating func takeReplies(_ slot: Int, _ now: UInt64) -> Bool {
        let connection = connections[slot]
        while true {
            switch connection.nextReply() {
            case .incomplete:
                return true
            case .malformed(let what):
                note("the server sent \(what)")
                fail(slot, now)
                return false
            case .reply(let reply):
                guard clients[slot].isSent else {
                    note("the server answered twice")
                    fail(slot, now)
                    return false
                }
                answer(slot, reply, now)
                connection.consume(reply)
                guard connection.state == .open else { return false }
                if clients[slot].resumeAt == 0, clients[slot].begun == 0 { start(slot, now) }
                guard connection.state == .open else { return false }
            }
        }
    }

    private mutating func answer(_ slot: Int, _ reply: RESPReply, _ now: UInt64) {
        clients[slot].isSent = false
        switch reply.kind {
        case .tryAgain:
            outcome.counts.retries += 1
            unshown.retries += 1
            clients[slot].resumeAt = now + ClosedLoop.retryPauseNanoseconds
        case .unknown:
            end(slot, mayBeApplied: true)
        case .error:
            note(String(decoding: reply.payload, as: UTF8.self))
            end(slot, mayBeApplied: false)
        case .status, .bulk, .null, .integer:
            guard outcome.workload.complete(plan.clients.lowerBound + slot, reply) else {
                note("the server sent a reply of another kind than the request asks for")
                end(slot, mayBeApplied: true)
                return
            }
            succeed(slot, now)
        }
    }

    private mutating func succeed(_ slot: Int, _ now: UInt64) {
        let begun = clients[slot].begun
        clients[slot].begun = 0
        outstanding -= 1
        if now >= windowStart, now < windowEnd {
            outcome.counts.ok += 1
            outcome.service.record(now > begun ? now - begun : 0)
        }
        unshown.ok += 1
    }

    /// Begins the client's next operation, or resends the current one, on its open connection.
    private mutating func start(_ slot: Int, _ now: UInt64) {
        let client = plan.clients.lowerBound + slot
        clients[slot].resumeAt = 0
        if clients[slot].begun == 0 {
            guard now < windowEnd, !outcome.workload.isExhausted else { return }
            outcome.workload.begin(client)
            clients[slot].begun = MonotonicClock.now()
            outstanding += 1
        }
        let connection = connections[slot]
        clients[slot].isSent = true
        connection.compose { outcome.workload.compose(client, into: $0) }
        guard connection.flush() else { return fail(slot, now) }
        if connection.hasUnsentBytes {
            poller.watch(slot, connection.descriptor, wantsWrite: true)
        }
    }

    /// The connection broke: what was under way is retried elsewhere if it can't have been applied, else unknown.
    private mutating func fail(_ slot: Int, _ now: UInt64) {
        close(slot)
        if clients[slot].begun > 0, clients[slot].isSent {
            end(slot, mayBeApplied: true)
        }
        clients[slot].isSent = false
        clients[slot].endpoint = (clients[slot].endpoint + 1) % plan.endpoints.count
        clients[slot].resumeAt = now + ClosedLoop.retryPauseNanoseconds
    }

    private func close(_ slot: Int) {
        poller.forget(slot)
        connections[slot].close()
    }

    private mutating func connect(_ slot: Int, at now: UInt64) {
        clients[slot].resumeAt = 0
        let connection = connections[slot]
        guard connection.connect(to: plan.endpoints[clients[slot].endpoint]) else { return fail(slot, now) }
        poller.watch(slot, connection.descriptor, wantsWrite: true)
    }

    private mutating func end(_ slot: Int, mayBeApplied: Bool) {
        outcome.workload.abandon(plan.clients.lowerBound + slot, mayBeApplied: mayBeApplied)
        clients[slot].begun = 0
        outstanding -= 1
        if mayBeApplied {
            outcome.counts.unknown += 1
            unshown.unknown += 1
        } else {
            outcome.counts.error += 1
            unshown.error += 1
        }
    }

    private mutating func giveUp(_ slot: Int) {
        let mayBeApplied = clients[slot].isSent
        close(slot)
        clients[slot].isSent = false
        end(slot, mayBeApplied: mayBeApplied)
        let seconds = plan.giveUpSeconds
        note("no answer within \(NumberText.fixed(seconds, 0)) s")
    }

    /// Reconnects and resends what waited long enough.
    /// - Returns: when to look again.
    private mutating func resume(_ now: UInt64) -> UInt64 {
        var wake = UInt64.max
        for slot in clients.indices {
            let due = clients[slot].resumeAt
            guard due > 0 else { continue }
            if due > now {
                wake = min(wake, due)
            } else if now < windowEnd || clients[slot].begun > 0 {
                connections[slot].state == .open ? start(slot, now) : connect(slot, at: now)
            } else {
                clients[slot].resumeAt = 0
            }
        }
        return wake
    }

    private mutating func tick(_ now: UInt64) {
        let limit = UInt64(plan.giveUpSeconds * 1e9)
        for slot in clients.indices where clients[slot].begun > 0 && now - clients[slot].begun > limit {
            giveUp(slot)
            clients[slot].resumeAt = now
        }
        publish()
    }

    private mutating func publish() {
        live.add(
            ok: unshown.ok, error: unshown.error, unknown: unshown.unknown, retries: unshown.retries)
        live.show(outcome.service)
        unshown = OperationCounts()
    }

    private mutating func note(_ error: @autoclosure () -> String) {
        if outcome.firstError == nil { outcome.firstError = error() }
    }
}
