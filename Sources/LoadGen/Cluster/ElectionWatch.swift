// Counts elections that nobody asked for: looks at every group's term on every node now and then, and adds up how far
// the terms have moved since they were first seen. A group's first term is no surprise; any later one under mere load
// is.
import LabKit
import Synchronization

final class ElectionWatch: Sendable {
    private struct State {
        var first: [String: UInt64] = [:]
        var newest: [String: UInt64] = [:]
        var isStopping = false
    }

    private let state = Mutex(State())
    private let hasEnded = Atomic<Bool>(false)
    private let probes: [NodeProbe]
    private static let pauseSeconds = 1.0
    private static let metric = "strata_raft_term"

    /// Watches from a thread of its own until ``stop()``.
    init(_ probes: [NodeProbe]) {
        self.probes = probes
        WorkerThread { [self] in
            while !state.withLock({ $0.isStopping }) {
                look()
                let end = MonotonicClock.now() + UInt64(Self.pauseSeconds * 1e9)
                while MonotonicClock.now() < end, !state.withLock({ $0.isStopping }) {
                    MonotonicClock.sleep(seconds: 0.05)
                }
            }
            hasEnded.store(true, ordering: .releasing)
        }.detach()
    }

    /// Ends the watch.
    /// - Returns: groups seen, and terms that began since each was first seen.
    func stop() -> (groups: Int, elections: UInt64) {
        state.withLock { $0.isStopping = true }
        while !hasEnded.load(ordering: .acquiring) { MonotonicClock.sleep(seconds: 0.005) }
        look()
        return state.withLock { state in
            (state.newest.count, state.newest.reduce(0) { $0 + $1.value - (state.first[$1.key] ?? $1.value) })
        }
    }

    private func look() {
        for probe in probes {
            guard let body = probe.get("/metrics", seconds: 2) else { continue }
            let terms = Self.terms(String(decoding: body, as: UTF8.self))
            state.withLock { state in
                for (group, term) in terms where term > 0 {
                    if state.first[group] == nil { state.first[group] = term }
                    state.newest[group] = max(state.newest[group] ?? 0, term)
                }
            }
        }
    }

    /// Of each group that a node's metrics name.
    static func terms(_ metrics: String) -> [(group: String, term: UInt64)] {
        metrics.split(separator: "\n").compactMap { line in
            guard line.hasPrefix(metric + "{"), let end = line.lastIndex(of: "}") else { return nil }
            let labels = line[line.index(line.startIndex, offsetBy: metric.count + 1)..<end]
            let value = line[line.index(after: end)...].drop { $0 == " " }
            guard let term = Double(value) else { return nil }
            return (String(labels), UInt64(term))
        }
    }
}
