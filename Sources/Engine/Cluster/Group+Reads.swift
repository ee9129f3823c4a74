// Linearizable reads by ReadIndex (Raft thesis §6.4): all reads of one turn share one confirmation; a confirmed read
// waits until the state machine has applied its index. A read that lost its leader asks again under a new context, it
// never adopts an older confirmation (etcd #20418).
import Raft

extension Group {
    /// Asks for confirmation of the reads that came in this turn.
    func confirmWaiting(outbox: Outbox) {
        guard !reads.isEmpty else { return }
        let taken = reads
        reads = []
        if core.holdsLease {
            // Each of them was in the inbox before this turn's time was taken, at which the lease holds; whatever state
            // is read from here on covers that moment.
            let byLease = taken.filter { $0.mode == .lease }
            if !byLease.isEmpty {
                if let counters { HostCounters.add(UInt64(byLease.count), to: counters.leaseReads) }
                confirm(byLease, with: .leaseRead(context: nextReadContext + 1), outbox: outbox)
            }
            let others = taken.filter { $0.mode != .lease }
            if !others.isEmpty { confirm(others, with: .readIndex(context: nextReadContext + 1), outbox: outbox) }
        } else {
            confirm(taken, with: .readIndex(context: nextReadContext + 1), outbox: outbox)
        }
    }

    private func confirm(_ requests: [ReadRequest], with input: Input, outbox: Outbox) {
        if let counters { HostCounters.add(UInt64(requests.count), to: counters.reads) }
        nextReadContext += 1
        confirming.append((nextReadContext, requests))
        step(input, outbox: outbox)
    }

    func confirm(_ read: ReadState) {
        guard let position = confirming.firstIndex(where: { $0.context == read.context }) else { return }
        let requests = confirming.remove(at: position).requests
        confirmed.append((read.index, requests))
    }

    /// The confirmation failed: ask again in a later turn, under a new context.
    func requeue(_ context: UInt64) {
        guard let position = confirming.firstIndex(where: { $0.context == context }) else { return }
        retryingReads.append(contentsOf: confirming.remove(at: position).requests)
    }

    /// Puts reads that lost their leader back in line; called once a tick.
    func retryReads() {
        guard !retryingReads.isEmpty, core.leader != nil else { return }
        reads.append(contentsOf: retryingReads)
        retryingReads = []
    }

    /// Answers confirmed reads whose index is applied.
    func serveReads() {
        guard !confirmed.isEmpty else { return }
        var left: [(index: LogIndex, requests: [ReadRequest])] = []
        for item in confirmed {
            if item.index <= applied {
                for request in item.requests { request.completion(.success(())) }
            } else {
                left.append(item)
            }
        }
        confirmed = left
    }

    func expireReads(now: UInt64) {
        let error = RequestError.unavailable("no leader confirmed the read in time")
        func drop(_ requests: inout [ReadRequest]) {
            guard requests.contains(where: { $0.deadline <= now }) else { return }
            for request in requests where request.deadline <= now { request.completion(.failure(error)) }
            requests.removeAll { $0.deadline <= now }
        }
        drop(&retryingReads)
        for position in confirming.indices { drop(&confirming[position].requests) }
        confirming.removeAll { $0.requests.isEmpty }
        for position in confirmed.indices { drop(&confirmed[position].requests) }
        confirmed.removeAll { $0.requests.isEmpty }
    }
}
