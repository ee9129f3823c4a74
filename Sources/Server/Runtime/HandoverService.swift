// The first thing that happens when a node is told to stop: it hands every group that it leads to a follower, while all
// its listeners still serve. It comes last in the stack, because services stop in reverse order.
import Cluster
import Logging
import ServiceLifecycle

struct HandoverService: Service {
    /// How long a stop waits for other nodes to take over, in nanoseconds.
    static let patience: UInt64 = 200_000_000

    let gate: ServiceGate
    let runtime: NodeRuntime
    let logger: Logger

    func run() async throws {
        try? await gracefulShutdown()
        guard !Task.isCancelled, gate.isOpen else { return }
        let isComplete = await runtime.handOver(within: Self.patience)
        if isComplete {
            logger.info("leads nothing any more")
        } else {
            logger.warning("stops without having handed everything over; the others elect a leader by themselves")
        }
    }
}

extension NodeRuntime {
    /// Asks the host to hand its groups over, and waits for that, a little longer than the host has.
    func handOver(within nanoseconds: UInt64) async -> Bool {
        let (outcomes, outcome) = AsyncStream.makeStream(of: Bool.self, bufferingPolicy: .bufferingOldest(1))
        inbox.post(
            .run { host in
                host.handOver(within: nanoseconds) { isComplete in
                    outcome.yield(isComplete)
                    outcome.finish()
                }
            }, lane: .control)
        // A host that has ended already never answers.
        Task.detached {
            try? await Task.sleep(for: .nanoseconds(2 * nanoseconds))
            outcome.finish()
        }
        for await isComplete in outcomes { return isComplete }
        return false
    }
}
