// Writes many batches to one partition without waiting for each: a stream to the partition's leader with a bounded
// number of batches under way. Follows the leader when it changes. A batch that certainly was not written is sent
// again; one whose fate is not known never is. After a change of leader batches may land in another order than they
// were sent.
internal import Foundation
internal import GRPCCore
internal import StrataProtocol
internal import Synchronization

/// A pipelined producer of one partition. `run` must be running for anything to be sent.
public final class PartitionProducer: Sendable {
    /// Called once for each batch, on any thread; must not block.
    public typealias Completion = @Sendable (_ id: UInt64, _ result: Result<BatchReceipt, ClientError>) -> Void

    struct Item: Sendable {
        var id: UInt64
        var batch: Data
        var deadline: ContinuousClock.Instant
    }

    private struct State {
        /// Not sent yet, or certainly not written; oldest first.
        var queue: [Item] = []
        /// Handed to the connection and not answered.
        var underWay: [UInt64: Item] = [:]
        var isFinished = false
        /// The stream under way leads to the wrong server or is being given up: it gets no more batches.
        var isStreamEnding = false
        var feeder: CheckedContinuation<Item?, Never>?
        var senders: [CheckedContinuation<Void, Never>] = []

        var count: Int { queue.count + underWay.count }
        var isDone: Bool { isFinished && count == 0 }
    }

    private let client: StrataClient
    private let topic: String
    private let partition: UInt32
    private let acks: Acknowledgement
    private let batchesMax: Int
    private let completion: Completion
    private let state = Mutex(State())

    /// - Parameter batchesMax: how many batches may be waiting and under way together.
    public init(
        _ client: StrataClient, topic: String, partition: UInt32, acks: Acknowledgement = .quorum, batchesMax: Int = 16,
        completion: @escaping Completion
    ) {
        precondition(batchesMax > 0, "a producer needs room for at least one batch")
        self.client = client
        self.topic = topic
        self.partition = partition
        self.acks = acks
        self.batchesMax = batchesMax
        self.completion = completion
    }

    /// Takes one record batch (Kafka v2); suspends while the producer is full.
    /// - Parameter id: the caller's, unique among those that are not completed.
    public func send(_ batch: [UInt8], id: UInt64) async throws(ClientError) {
        guard batch.count <= client.options.batchBytesMax else {
            throw ClientError(
                .invalid,
                "the batch has \(batch.count) bytes; at most \(client.options.batchBytesMax) are allowed, send smaller ones"
            )
        }
        await roomForOne()
        let item = Item(id: id, batch: Data(batch), deadline: .now + client.options.requestTimeout)
        let (isRefused, feeder) = state.withLock { state -> (Bool, CheckedContinuation<Item?, Never>?) in
            if state.isFinished { return (true, nil) }
            if let feeder = state.feeder {
                state.feeder = nil
                state.underWay[item.id] = item
                return (false, feeder)
            }
            state.queue.append(item)
            return (false, nil)
        }
        if isRefused { throw ClientError(.closed, "the producer is finished; make another one") }
        feeder?.resume(returning: item)
    }

    /// No more batches will come; `run` returns when the last one is completed.
    public func finish() {
        let (feeder, senders) = state.withLock { state in
            state.isFinished = true
            defer {
                state.feeder = nil
                state.senders = []
            }
            return (state.feeder, state.senders)
        }
        feeder?.resume(returning: nil)
        for sender in senders { sender.resume() }
    }

    private func roomForOne() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let hasRoom = state.withLock { state in
                if state.count < batchesMax || state.isFinished { return true }
                state.senders.append(continuation)
                return false
            }
            if hasRoom { continuation.resume() }
        }
    }

    /// Sends until `finish` was called and every batch is completed, or the task is cancelled; then what is left is
    /// completed as unavailable or unknown.
    public func run() async {
        while !state.withLock({ $0.isDone }), !Task.isCancelled {
            expire()
            guard state.withLock({ !$0.queue.isEmpty || !$0.isFinished }) else { continue }
            await stream()
        }
        finish()
        for item in state.withLock({ $0.queue }) {
            complete(item.id, .failure(ClientError(.closed, "the producer was cancelled before the batch was sent")))
        }
    }

    /// Completes waiting batches whose time is up.
    private func expire() {
        let now = ContinuousClock.now
        for item in state.withLock({ $0.queue.filter { $0.deadline <= now } }) {
            let text = "no leader of \(topic)-\(partition) took the batch in time; nothing was written"
            complete(item.id, .failure(ClientError(.unavailable, text)))
        }
    }

    /// One stream to the leader, from its opening to its end.
    private func stream() async {
        let address: String
        do throws(ClientError) {
            let deadline = state.withLock { $0.queue.map(\.deadline).min() } ?? client.newDeadline
            guard let leader = try await client.leader(topic, partition, until: deadline) else { return await pause() }
            address = leader
        } catch {
            return await pause()
        }
        state.withLock { $0.isStreamEnding = false }
        let isClean = await withTaskGroup(of: Bool?.self) { group in
            group.addTask { await self.exchange(address) }
            group.addTask {
                await self.watch()
                return nil
            }
            var isClean = false
            while let result = await group.next() {
                if let result { isClean = result }
                group.cancelAll()
            }
            return isClean
        }
        for item in state.withLock({ Array($0.underWay.values) }) {
            let text = "the stream to \(address) ended before an answer; the batch may have been written"
            complete(item.id, .failure(ClientError(.unknown, text)))
        }
        if !isClean { client.routing.learn(topic, partition, nil) }
        // A stream that ended because its server does not lead and knows nobody who does: let them elect.
        if client.routing.leader(topic, partition) == nil { await pause() }
    }

    /// - Returns: false when the stream broke.
    private func exchange(_ address: String) async -> Bool {
        let outgoing = StreamingClientRequest<Strata_V1_ProduceRequest> { writer in
            while let item = await self.next() {
                var message = Strata_V1_ProduceRequest()
                message.topic = self.topic
                message.partition = self.partition
                message.acks = self.acks.message
                message.recordBatch = item.batch
                message.requestID = item.id
                try await writer.write(message)
            }
        }
        do {
            try await client.broker(address).produceStream(request: outgoing, options: client.streamOptions) {
                response in
                for try await message in response.messages { self.answer(message, from: address) }
            }
            return true
        } catch {
            return false
        }
    }

    /// Ends the stream when an answer is overdue.
    private func watch() async {
        while !Task.isCancelled {
            let soon = ContinuousClock.now + .milliseconds(100)
            let due = state.withLock { ($0.underWay.values.map(\.deadline) + $0.queue.map(\.deadline)).min() } ?? soon
            try? await Task.sleep(until: min(max(due, .now + .milliseconds(1)), soon), clock: .continuous)
            let now = ContinuousClock.now
            if state.withLock({ $0.underWay.values.contains { $0.deadline <= now } }) { return }
            expire()
        }
    }

    /// The next batch for the stream under way; nil when that gets no more.
    private func next() async -> Item? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Item?, Never>) in
                enum Step {
                    case take(Item), end, wait
                }
                let step = state.withLock { state -> Step in
                    if state.isStreamEnding || Task.isCancelled { return .end }
                    if !state.queue.isEmpty {
                        let item = state.queue.removeFirst()
                        state.underWay[item.id] = item
                        return .take(item)
                    }
                    if state.isFinished { return .end }
                    state.feeder = continuation
                    return .wait
                }
                switch step {
                case .take(let item): continuation.resume(returning: item)
                case .end: continuation.resume(returning: nil)
                case .wait: break
                }
            }
        } onCancel: {
            endStream()
        }
    }

    /// Lets the stream under way run out.
    private func endStream() {
        let feeder = state.withLock { state in
            state.isStreamEnding = true
            defer { state.feeder = nil }
            return state.feeder
        }
        feeder?.resume(returning: nil)
    }

    private func answer(_ message: Strata_V1_ProduceResponse, from address: String) {
        guard let error = ClientError(message.error, message.errorMessage) else {
            let receipt = BatchReceipt(baseOffset: message.baseOffset, recordCount: message.recordCount)
            return complete(message.requestID, .success(receipt))
        }
        guard error.code == .unavailable else { return complete(message.requestID, .failure(error)) }
        client.routing.learn(topic, partition, message.hasLeaderHint ? message.leaderHint.address : nil)
        state.withLock { state in
            guard let item = state.underWay.removeValue(forKey: message.requestID) else { return }
            state.queue.append(item)
        }
        endStream()
    }

    private func complete(_ id: UInt64, _ result: Result<BatchReceipt, ClientError>) {
        let (isKnown, sender) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
            let before = state.count
            state.underWay[id] = nil
            state.queue.removeAll { $0.id == id }
            guard state.count < before else { return (false, nil) }
            return (true, state.senders.isEmpty ? nil : state.senders.removeFirst())
        }
        if isKnown { completion(id, result) }
        sender?.resume()
    }

    /// After a failure; ends early when the task is cancelled.
    private func pause() async {
        try? await Task.sleep(for: client.options.retryPause)
    }
}
