// Brings finished requests from engine threads to the event loop that owns their connections. One mailbox per event
// loop: however many requests a commit finishes at once, the loop is woken once and each connection writes and flushes
// once. It never runs a completion's work on the engine's thread.
import Cluster
import NIOCore
import Synchronization

/// What became of a request to the store.
enum RESPOutcome: Sendable {
    case written(Result<UInt64, RequestError>)
    case read(Result<[UInt8]?, RequestError>)
}

/// The completions that wait for one event loop.
///
/// Bounded by the connections' own limits: each has at most `RESPLimits.pipelinedRequestsMax` requests in flight.
final class CompletionMailbox: Sendable {
    private struct Entry: Sendable {
        var connection: NIOLoopBound<RESPConnection>
        var sequence: UInt64
        /// Which key of the request, where it has several.
        var part: Int
        var outcome: RESPOutcome
    }

    private struct Entries {
        var waiting: [Entry] = []
        /// An emptied array kept for its memory.
        var spare: [Entry] = []
    }

    private let eventLoop: any EventLoop
    private let entries = Mutex(Entries())

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// Takes one completion; any thread. Wakes the loop if the mailbox was empty.
    func post(_ outcome: RESPOutcome, to connection: NIOLoopBound<RESPConnection>, sequence: UInt64, part: Int) {
        let wasEmpty = entries.withLock { entries in
            entries.waiting.append(Entry(connection: connection, sequence: sequence, part: part, outcome: outcome))
            return entries.waiting.count == 1
        }
        if wasEmpty { eventLoop.execute { self.deliver() } }
    }

    /// Hands everything that has arrived to the connections, then lets each write once.
    private func deliver() {
        var batch = entries.withLock { entries in
            let batch = entries.waiting
            entries.waiting = entries.spare
            entries.spare = []
            return batch
        }
        for entry in batch { entry.connection.value.complete(entry.sequence, part: entry.part, with: entry.outcome) }
        // The first that sees a connection continues it; the others find it clean.
        for entry in batch { entry.connection.value.continueIfTouched() }
        batch.removeAll(keepingCapacity: true)
        entries.withLock { $0.spare = batch }
    }
}
