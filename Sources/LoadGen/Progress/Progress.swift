// What a person sees while a run goes on: on a terminal one block that is redrawn, elsewhere one line a second.
// Everything goes to standard error. Shows only what LiveCounters and /proc say; results come from elsewhere.
import Glibc
import LabKit
import Synchronization

/// The display. One scenario at a time.
final class Progress: Sendable {
    private struct Scenario {
        var number = 0
        var name = ""
        var note = ""
        var seconds = 0.0
        var started: UInt64 = 0
        var live: LiveCounters?
        var lastOK: UInt64 = 0
        var lastTime: UInt64 = 0
    }

    private struct State {
        var scenario: Scenario?
        var nodes: [(name: String, pid: pid_t)] = []
        var usage: [pid_t: ProcessUsage] = [:]
        var drawnLines = 0
        var isStopped = false
    }

    private let header: String
    private let total: Int
    private let started = MonotonicClock.now()
    private let isTerminal = StandardError.isTerminal
    private let state = Mutex(State())

    private static let terminalInterval = 0.25
    private static let lineInterval = 1.0
    private static let barWidth = 20

    /// Starts the display's thread; it ends with `stop`.
    init(header: String, scenarios: Int) {
        self.header = header
        total = scenarios
        let interval = isTerminal ? Progress.terminalInterval : Progress.lineInterval
        StandardError.write(header + "\n")
        // Not joined: it only reads, and ends by itself after `stop`.
        let thread = WorkerThread { [self] in
            while !state.withLock({ $0.isStopped }) {
                MonotonicClock.sleep(seconds: interval)
                draw()
            }
        }
        thread.detach()
    }

    func begin(_ name: String, _ note: String, seconds: Double, live: LiveCounters?) {
        let now = MonotonicClock.now()
        state.withLock { state in
            clear(&state)
            let number = (state.scenario?.number ?? 0) + 1
            state.scenario = Scenario(
                number: number, name: name, note: note, seconds: seconds, started: now, live: live, lastOK: 0,
                lastTime: now)
            if !isTerminal { StandardError.write("[\(number)/\(total)] \(name): \(note)\n") }
        }
    }

    /// Says something that stays.
    func say(_ line: String) {
        state.withLock { state in
            clear(&state)
            StandardError.write(line + "\n")
        }
    }

    /// Whose processor time and memory are shown.
    func watch(_ nodes: [(name: String, pid: pid_t)]) {
        state.withLock { $0.nodes = nodes }
    }

    func stop() {
        state.withLock { state in
            state.isStopped = true
            clear(&state)
        }
    }

    private func clear(_ state: inout State) {
        guard state.drawnLines > 0 else { return }
        StandardError.write("\u{1B}[\(state.drawnLines)A\u{1B}[J")
        state.drawnLines = 0
    }

    private func draw() {
        state.withLock { state in
            guard !state.isStopped, var scenario = state.scenario else { return }
            let now = MonotonicClock.now()
            let snapshot = scenario.live?.snapshot ?? LiveCounters.Snapshot()
            let interval = max(MonotonicClock.seconds(from: scenario.lastTime, to: now), 0.001)
            let rate = Double(snapshot.counts.ok - min(scenario.lastOK, snapshot.counts.ok)) / interval
            scenario.lastOK = snapshot.counts.ok
            scenario.lastTime = now
            state.scenario = scenario
            let load = scenario.live == nil ? "" : Progress.load(snapshot, rate)
            let usage = usage(&state, now)
            if isTerminal {
                clear(&state)
                // A line that wraps would count as two, and the block could not be redrawn in its place.
                let columns = StandardError.columns
                let lines = [bar(scenario, now), load, usage].filter { !$0.isEmpty }
                StandardError.write(lines.map { $0.prefix(columns - 1) + "\n" }.joined())
                state.drawnLines = lines.count
            } else {
                let elapsed = NumberText.fixed(MonotonicClock.seconds(from: started, to: now), 1)
                StandardError.write("t=\(elapsed) \(scenario.name) \(load) \(usage)\n")
            }
        }
    }

    private func bar(_ scenario: Scenario, _ now: UInt64) -> String {
        let elapsed = MonotonicClock.seconds(from: scenario.started, to: now)
        let share = scenario.seconds > 0 ? min(elapsed / scenario.seconds, 1) : 0
        let filled = Int(share * Double(Progress.barWidth))
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: Progress.barWidth - filled)
        let total = Int(MonotonicClock.seconds(from: started, to: now))
        let seconds = total % 60 < 10 ? "0\(total % 60)" : "\(total % 60)"
        let head = "[\(scenario.number)/\(self.total)] \(scenario.name) ▕\(bar)▏ \(Int(share * 100)) %"
        return head + "   elapsed \(total / 60):\(seconds)   \(scenario.note)"
    }

    private static func load(_ snapshot: LiveCounters.Snapshot, _ rate: Double) -> String {
        var text = "ops=\(NumberText.rate(rate))/s ok=\(NumberText.grouped(snapshot.counts.ok))"
        text += " err=\(snapshot.counts.error) unknown=\(snapshot.counts.unknown) retries=\(snapshot.counts.retries)"
        guard snapshot.maximum > 0 else { return text }
        text += " p50=\(NumberText.milliseconds(Double(snapshot.p50) / 1e9))"
        text += " p99=\(NumberText.milliseconds(Double(snapshot.p99) / 1e9))"
        return text + " max=\(NumberText.milliseconds(Double(snapshot.maximum) / 1e9))ms"
    }

    private func usage(_ state: inout State, _ now: UInt64) -> String {
        var parts: [String] = []
        for (name, pid) in state.nodes + [("client", getpid())] {
            guard let current = ProcessUsage.of(pid, at: now) else { continue }
            if let before = state.usage[pid] {
                let share = NumberText.fixed(current.processorShare(since: before) * 100, 0)
                parts.append("\(name) cpu=\(share)% rss=\(current.residentBytes >> 20)M")
            }
            state.usage[pid] = current
        }
        return parts.joined(separator: " · ")
    }
}
