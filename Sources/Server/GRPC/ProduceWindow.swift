// What one ProduceStream has in flight: it holds the reader back when that is too much, and gathers answers, which come
// from engine threads in any order, for the writer to send together. It must never let an answer wait while the writer
// idles, nor the reader run ahead without a bound.
import StrataProtocol
import Synchronization

/// The window of one stream: one reader, one writer, any number of completing threads.
final class ProduceWindow: Sendable {
    /// Batches in flight, and answers that are not sent yet.
    static let requestsMax = 1024
    static let bytesMax = 64 * 1024 * 1024

    fileprivate struct State {
        var requests = 0
        var bytes = 0
        var responses: [Strata_V1_ProduceResponse] = []
        /// Requests whose answer is not among `responses` yet.
        var unanswered = 0
        var isFinished = false
        /// Finished by the server, while the client might have said more.
        var isCut = false
        var isAborted = false
        var reader: CheckedContinuation<Void, Never>?
        var writer: CheckedContinuation<Void, Never>?

        var hasRoom: Bool {
            requests == 0 || (requests < ProduceWindow.requestsMax && bytes < ProduceWindow.bytesMax)
        }

        var isWriterDue: Bool { !responses.isEmpty || isAborted || (isFinished && unanswered == 0) }
    }

    private let state = Mutex(State())

    /// Waits for room and takes it. False when the stream is over.
    func enter(bytes: Int) async -> Bool {
        while true {
            let isAdmitted: Bool? = state.withLock { state in
                if state.isAborted || state.isFinished { return false }
                guard state.hasRoom else { return nil }
                state.requests += 1
                state.unanswered += 1
                state.bytes += bytes
                return true
            }
            if let isAdmitted { return isAdmitted }
            await withCheckedContinuation { continuation in
                let goesOn = state.withLock { state in
                    if state.hasRoom || state.isAborted || state.isFinished { return true }
                    state.reader = continuation
                    return false
                }
                if goesOn { continuation.resume() }
            }
        }
    }

    /// Takes the answer of a request that entered with so many bytes. Any thread.
    func answer(_ response: Strata_V1_ProduceResponse, bytes: Int) {
        let writer = state.withLock { state in
            state.responses.append(response)
            state.unanswered -= 1
            state.bytes -= bytes
            return state.takeWriter()
        }
        writer?.resume()
    }

    /// The answers to send next, at least one; nil when there will be no more.
    func next() async -> [Strata_V1_ProduceResponse]? {
        while true {
            let (batch, reader) = state.withLock { state in
                let batch = state.isAborted ? [] : state.responses
                state.responses = []
                state.requests -= batch.count
                return (batch, state.takeReader())
            }
            reader?.resume()
            if !batch.isEmpty { return batch }
            if state.withLock({ $0.isAborted || ($0.isFinished && $0.unanswered == 0 && $0.responses.isEmpty) }) {
                return nil
            }
            await withCheckedContinuation { continuation in
                let goesOn = state.withLock { state in
                    if state.isWriterDue { return true }
                    state.writer = continuation
                    return false
                }
                if goesOn { continuation.resume() }
            }
        }
    }

    /// No more requests will enter; the writer ends after the last answer.
    func finish() {
        end { $0.isFinished = true }
    }

    /// The server takes no more requests; the writer ends after the last answer.
    func cut() {
        end { state in
            if !state.isFinished { state.isCut = true }
            state.isFinished = true
        }
    }

    var isCut: Bool { state.withLock { $0.isCut } }

    /// Nobody reads the answers any more; both sides end at once.
    func abort() {
        end { $0.isAborted = true }
    }

    private func end(_ change: (inout State) -> Void) {
        let (reader, writer) = state.withLock { state in
            change(&state)
            return (state.takeReader(), state.takeWriter())
        }
        reader?.resume()
        writer?.resume()
    }
}

extension ProduceWindow.State {
    mutating func takeReader() -> CheckedContinuation<Void, Never>? {
        defer { reader = nil }
        return reader
    }

    mutating func takeWriter() -> CheckedContinuation<Void, Never>? {
        defer { writer = nil }
        return writer
    }
}
