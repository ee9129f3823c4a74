// A world with one seed: a virtual clock, a queue of events, and a generator. Two events at one time happen in the
// order in which they were scheduled, so that the same seed is the same run. Nothing in it knows real time.

/// SplitMix64; the only source of chance in a simulation.
struct SimulatedRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
    mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &self) < probability }
}

final class SimulatedWorld {
    private struct Event {
        var time: UInt64
        var order: UInt64
        var body: () -> Void
    }

    private(set) var now: UInt64 = 1_000_000_000
    var random: SimulatedRandom
    /// Hash over what happened, to compare two runs of one seed.
    private(set) var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    /// Runs after every event: whoever was woken by it gets scheduled here.
    var afterEvent: () -> Void = {}
    private var heap: [Event] = []
    private var order: UInt64 = 0

    init(seed: UInt64) {
        random = SimulatedRandom(seed: seed)
    }

    func note(_ values: UInt64...) {
        for value in values { hash = (hash ^ value) &* 0x0000_0100_0000_01b3 }
    }

    /// Schedules `body` after `delay` nanoseconds.
    func after(_ delay: UInt64, _ body: @escaping () -> Void) {
        order += 1
        heap.append(Event(time: now + delay, order: order, body: body))
        var child = heap.count - 1
        while child > 0, precedes(heap[child], heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Runs events for `duration` nanoseconds of virtual time, or until `done` says so.
    /// - Returns: whether `done` was reached.
    @discardableResult
    func run(for duration: UInt64, until done: () -> Bool = { false }) -> Bool {
        let end = now + duration
        while let next = heap.first, next.time <= end {
            removeFirst()
            now = next.time
            next.body()
            afterEvent()
            if done() { return true }
        }
        now = end
        return done()
    }

    private func precedes(_ a: Event, _ b: Event) -> Bool {
        (a.time, a.order) < (b.time, b.order)
    }

    private func removeFirst() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && precedes(heap[child], heap[least])
            {
                least = child
            }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
