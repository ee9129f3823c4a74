// The open loop over RESP: writes start when they are due, whether earlier ones were answered or not, and their clock
// runs from that moment on. A write that fails is tried again on the next node until it is acknowledged or ten seconds
// old; every attempt belongs to the one operation. Made for faults: each key is written once, so that a second attempt
// of a write that may have been applied changes nothing.
import LabKit
import Synchronization

struct OpenLoopPlan: Sendable {
    var endpoints: [SocketAddress]
    /// One operation under way on each.
    var connectionsPerEndpoint = OpenLoopPlan.connectionsPerEndpointDefault
    /// Uniform spacing.
    var writesPerSecond: Double
    var giveUpSeconds = 10.0
    /// A connection that does not answer for this long is closed and the write tried elsewhere.
    var attemptSeconds = 2.0
    /// Keys that may be used, one for each write.
    var keys: Range<UInt32>

    static let connectionsPerEndpointDefault = 32
}

/// An acknowledged write: when it was due and when its answer came, in nanoseconds of MonotonicClock.
struct Acknowledgement: Hashable, Sendable {
    var due: UInt64
    var completed: UInt64
}

/// What the driver of an open loop shares with the thread that injects the faults.
final class OpenLoopControl: Sendable {
    private let stopping = Atomic<Bool>(false)
    private let log = Mutex<[Acknowledgement]>([])

    /// Lets the loop stop planning writes; it then drains what is under way.
    func stop() {
        stopping.store(true, ordering: .relaxed)
    }

    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    func append(_ acknowledgement: Acknowledgement) {
        log.withLock { $0.append(acknowledgement) }
    }

    /// Acknowledgements that completed at or after `time`, in order.
    func acknowledgements(since time: UInt64) -> [Acknowledgement] {
        log.withLock { log in
            var first = log.count
            while first > 0, log[first - 1].completed >= time { first -= 1 }
            return Array(log[first...])
        }
    }
}

struct OpenLoopOutcome: Sendable {
    var ledger: KeyValueLedger
    var counts = OperationCounts()
    var response = LatencyHistogram()
    /// How late the generator itself began its writes.
    var lateness = LatencyHistogram()
    var firstError: String?
}

/// Runs on one thread.
struct OpenLoop: ~Copyable {
    private struct Operation {
        var key: UInt32
        var due: UInt64
        var endpoint: Int
        var attempts = 0
        /// An attempt was sent and not answered: it may have been applied.
        var isAmbiguous = false
        var notBefore: UInt64 = 0
    }

    private struct Link {
        var endpoint: Int
        var operation: Operation?
        var sentAt: UInt64 = 0
        var connectAt: UInt64 = 0
    }

    private static var retryPauseNanosecondsMin: UInt64 { 2_000_000 }
    private static var retryPauseNanosecondsMax: UInt64 { 32_000_000 }
    private static var reconnectPauseNanoseconds: UInt64 { 20_000_000 }
    private static var tickNanoseconds: UInt64 { 20_000_000 }

    private let plan: OpenLoopPlan
    private let codec: KeyValueCodec
    private let control: OpenLoopControl
    private let live: LiveCounters
    private var outcome: OpenLoopOutcome
    private var links: [Link]
    private let connections: [RESPConnection]
    private let poller: Poller
    /// Planned and not under way; in the order of their due times but for retries. Bounded by rate times give-up time.
    private var waiting: [Operation] = []
    private var underWay = 0
    private var nextKey: UInt32
    private var nextEndpoint = 0
    private var unshown = OperationCounts()

    static func run(
        _ plan: OpenLoopPlan, codec: KeyValueCodec, control: OpenLoopControl, live: LiveCounters
    ) throws(LoadGenError) -> OpenLoopOutcome {
        var loop = try OpenLoop(plan, codec: codec, control: control, live: live)
        try loop.run()
        return loop.outcome
    }

    private init(
        _ plan: OpenLoopPlan, codec: KeyValueCodec, control: OpenLoopControl, live: LiveCounters
    ) throws(LoadGenError) {
        precondition(!plan.endpoints.isEmpty && plan.writesPerSecond > 0, "a load needs somewhere to go and a rate")
        self.plan = plan
        self.codec = codec
        self.control = control
        self.live = live
        outcome = OpenLoopOutcome(ledger: KeyValueLedger(keys: plan.keys))
        nextKey = plan.keys.lowerBound
        let count = plan.endpoints.count * plan.connectionsPerEndpoint
        links = (0..<count).map { Link(endpoint: $0 % plan.endpoints.count) }
        let requestBytes = KeyValueCodec.keyBytes + codec.valueBytes + RESPRequest.overheadBytes
        connections = (0..<count).map { _ in RESPConnection(requestBytesMax: requestBytes, incomingBytes: 512) }
        poller = Poller(slots: count)
    }

    private mutating func run() throws(LoadGenError) {
        let start = MonotonicClock.now()
        let spacing = 1e9 / plan.writesPerSecond
        var planned: UInt64 = 0
        for slot in links.indices { connect(slot, start) }
        var nextTick = start
        while true {
            let now = MonotonicClock.now()
            let isStopping = control.isStopping || nextKey == plan.keys.upperBound
            if isStopping, waiting.isEmpty, underWay == 0 { break }
            if now >= nextTick {
                nextTick = now + OpenLoop.tickNanoseconds
                tick(now)
                try Interruption.check()
            }
            var due = start + UInt64(Double(planned) * spacing)
            while !isStopping, due <= now, nextKey < plan.keys.upperBound {
                plan(due, now)
                planned += 1
                due = start + UInt64(Double(planned) * spacing)
            }
            dispatch(now)
            let wake = waiting.lazy.map(\.notBefore).filter { $0 > now }.min() ?? .max
            step(until: min(isStopping ? nextTick : min(due, nextTick), wake))
        }
        publish()
    }

    private mutating func plan(_ due: UInt64, _ now: UInt64) {
        waiting.append(Operation(key: nextKey, due: due, endpoint: nextEndpoint))
        outcome.lateness.record(now - due)
        nextKey += 1
        nextEndpoint = (nextEndpoint + 1) % plan.endpoints.count
    }

    /// Sends every waiting write for which a connection is free, oldest first.
    private mutating func dispatch(_ now: UInt64) {
        guard !waiting.isEmpty else { return }
        var kept: [Operation] = []
        let ready = waiting
        waiting.removeAll(keepingCapacity: true)
        for operation in ready {
            if operation.notBefore <= now, let slot = freeLink(from: operation.endpoint) {
                send(operation, slot, now)
            } else {
                kept.append(operation)
            }
        }
        // `send` puts a write back when its connection turns out to be broken.
        waiting = kept + waiting
    }

    private func freeLink(from endpoint: Int) -> Int? {
        for step in 0..<plan.endpoints.count {
            var slot = (endpoint + step) % plan.endpoints.count
            while slot < links.count {
                if links[slot].operation == nil, connections[slot].state == .open { return slot }
                slot += plan.endpoints.count
            }
        }
        return nil
    }

    private mutating func send(_ operation: Operation, _ slot: Int, _ now: UInt64) {
        var operation = operation
        operation.attempts += 1
        if operation.attempts > 1 {
            outcome.counts.retries += 1
            unshown.retries += 1
        } else {
            let version = outcome.ledger.issue(operation.key)
            precondition(version == 1, "each key of an open loop is written once")
        }
        links[slot].operation = operation
        links[slot].sentAt = now
        underWay += 1
        let codec = codec
        connections[slot].compose { buffer in
            RESPRequest.set(
                into: buffer, keyCount: KeyValueCodec.keyBytes, valueCount: codec.valueBytes,
                key: { codec.writeKey(operation.key, into: $0) },
                value: { codec.writeValue(key: operation.key, version: 1, into: $0) })
        }
        guard connections[slot].flush() else { return fail(slot, now) }
        if connections[slot].hasUnsentBytes {
            poller.watch(slot, connections[slot].descriptor, wantsWrite: true)
        }
    }

    private mutating func step(until deadline: UInt64) {
        guard poller.wait(until: deadline) else { return }
        let now = MonotonicClock.now()
        for slot in links.indices where poller.isReady(slot) {
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
        case .open:
            if connection.hasUnsentBytes {
                guard connection.flush() else { return fail(slot, now) }
                if !connection.hasUnsentBytes {
                    poller.watch(slot, connection.descriptor, wantsWrite: false)
                }
            }
            let isAlive = connection.receive()
            loop: while connection.state == .open {
                switch connection.nextReply() {
                case .incomplete: break loop
                case .malformed(let what):
                    note("the server sent \(what)")
                    return fail(slot, now)
                case .reply(let reply):
                    answer(slot, reply, now)
                    connection.consume(reply)
                }
            }
            if !isAlive { fail(slot, now) }
        }
    }

    private mutating func answer(_ slot: Int, _ reply: RESPReply, _ now: UInt64) {
        // A connection that said UNKNOWN is about to be closed by the server; the answer came without a question then.
        guard var operation = links[slot].operation else { return }
        links[slot].operation = nil
        underWay -= 1
        switch reply.kind {
        case .status:
            outcome.ledger.acknowledge(operation.key, version: 1)
            outcome.counts.ok += 1
            unshown.ok += 1
            outcome.response.record(now > operation.due ? now - operation.due : 0)
            control.append(Acknowledgement(due: operation.due, completed: now))
        case .tryAgain:
            retry(operation, now)
        case .unknown:
            operation.isAmbiguous = true
            retry(operation, now)
        case .error, .bulk, .null, .integer:
            note(String(decoding: reply.payload, as: UTF8.self))
            end(operation)
        }
    }

    private mutating func retry(_ operation: Operation, _ now: UInt64) {
        var operation = operation
        let shift = UInt64(min(operation.attempts, 5) - 1)
        operation.notBefore =
            now
            + min(
                OpenLoop.retryPauseNanosecondsMin << shift, OpenLoop.retryPauseNanosecondsMax)
        operation.endpoint = (operation.endpoint + 1) % plan.endpoints.count
        waiting.append(operation)
    }

    private mutating func fail(_ slot: Int, _ now: UInt64) {
        poller.forget(slot)
        connections[slot].close()
        links[slot].connectAt = now + OpenLoop.reconnectPauseNanoseconds
        guard var operation = links[slot].operation else { return }
        links[slot].operation = nil
        underWay -= 1
        operation.isAmbiguous = true
        retry(operation, now)
    }

    private mutating func connect(_ slot: Int, _ now: UInt64) {
        links[slot].connectAt = 0
        guard connections[slot].connect(to: plan.endpoints[links[slot].endpoint]) else { return fail(slot, now) }
        poller.watch(slot, connections[slot].descriptor, wantsWrite: true)
    }

    /// The write is over without success.
    private mutating func end(_ operation: Operation) {
        if operation.isAmbiguous {
            outcome.ledger.markUnknown(operation.key, version: 1)
            outcome.counts.unknown += 1
            unshown.unknown += 1
        } else {
            outcome.counts.error += 1
            unshown.error += 1
        }
    }

    private mutating func tick(_ now: UInt64) {
        let attemptLimit = UInt64(plan.attemptSeconds * 1e9)
        for slot in links.indices {
            if links[slot].operation != nil, now - links[slot].sentAt > attemptLimit { fail(slot, now) }
            if links[slot].connectAt > 0, links[slot].connectAt <= now { connect(slot, now) }
        }
        let limit = UInt64(plan.giveUpSeconds * 1e9)
        var kept: [Operation] = []
        for operation in waiting {
            if now > operation.due + limit { end(operation) } else { kept.append(operation) }
        }
        waiting = kept
        publish()
    }

    private mutating func publish() {
        live.add(
            ok: unshown.ok, error: unshown.error, unknown: unshown.unknown, retries: unshown.retries)
        live.show(outcome.response)
        unshown = OperationCounts()
    }

    private mutating func note(_ error: @autoclosure () -> String) {
        if outcome.firstError == nil { outcome.firstError = error() }
    }
}
