// The broker's streams: pipelined produce, and consuming as records or as whole batches.
import Broker
import Cluster
import Foundation
import GRPCCore
import StrataProtocol
import SwiftProtobuf

extension BrokerGRPCService {
    /// Reads on while batches are in flight, up to `ProduceWindow`'s bounds; answers carry their request's id and come
    /// in any order. Ends after the last answer when the client closes its side or the server shuts down.
    func produceStream(
        request: RPCAsyncSequence<Strata_V1_ProduceRequest, any Error>,
        response: RPCWriter<Strata_V1_ProduceResponse>, context: ServerContext
    ) async throws {
        let window = ProduceWindow()
        try await withRPCCancellationHandler {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask {
                    defer { window.finish() }
                    for try await message in request {
                        guard await admit(message, to: window) else { break }
                    }
                    return false
                }
                group.addTask {
                    defer { window.abort() }
                    while let batch = await window.next() { try await response.write(contentsOf: batch) }
                    return true
                }
                // The writer is the last to end: the reader may still wait for a client that says no more.
                while let isWriter = try await group.next(), !isWriter {}
                group.cancelAll()
            }
        } onCancelRPC: {
            window.finish()
        }
    }

    /// Starts one request of a stream when there is room. False when the stream is over.
    private func admit(_ request: Strata_V1_ProduceRequest, to window: ProduceWindow) async -> Bool {
        let batch: [UInt8]
        do throws(RequestError) {
            batch = try request.batch(now: Self.now)
        } catch {
            guard await window.enter(bytes: 0) else { return false }
            window.answer(.init(request.requestID, .failure(error)), bytes: 0)
            return true
        }
        let bytes = batch.count
        guard await window.enter(bytes: bytes) else { return false }
        start(request, batch) { window.answer($0, bytes: bytes) }
        return true
    }

    func consume(
        request: Strata_V1_ConsumeRequest, response: RPCWriter<Strata_V1_LogEntry>, context: ServerContext
    ) async throws {
        try await pump(request, context) { fetched, offset in
            let entries = try Result(catching: { () throws(RequestError) in try fetched.entries(from: offset) })
                .orStatus()
            // In pieces, so that a slow consumer holds back the decoding rather than fill the writer's queue.
            for start in stride(from: 0, to: entries.count, by: Self.entriesPerWrite) {
                try await response.write(contentsOf: entries[start..<min(start + Self.entriesPerWrite, entries.count)])
            }
        }
    }

    func consumeBatches(
        request: Strata_V1_ConsumeRequest, response: RPCWriter<Strata_V1_RecordBatches>, context: ServerContext
    ) async throws {
        try await pump(request, context) { fetched, _ in
            try await response.write(
                .with {
                    $0.recordBatches = Data(fetched.bytes)
                    $0.highWatermark = fetched.highWatermark
                    $0.logStartOffset = fetched.logStartOffset
                })
        }
    }

    private static let entriesPerWrite = 512
    private static let fetchBytesDefault: UInt32 = 1024 * 1024
    /// How long a fetch at the end waits for more; also how soon a cancelled stream is noticed there.
    private static let followMilliseconds: UInt32 = 500

    /// Fetches from the asked position on and delivers what is found, with the offset that it was asked from. Without
    /// `follow` it ends at the high watermark that the first fetch saw.
    private func pump(
        _ request: Strata_V1_ConsumeRequest, _ context: ServerContext,
        deliver: (FetchedBatches, UInt64) async throws -> Void
    ) async throws {
        var offset = try startOffset(request).orStatus()
        let asked = request.maxBytes == 0 ? Self.fetchBytesDefault : request.maxBytes
        let maxBytes = min(Int(asked), BrokerLimits.fetchBytesMax)
        let wait = request.follow ? Self.followMilliseconds : 0
        var end: UInt64?
        while !context.cancellation.isCancelled {
            let from = offset
            let fetched = try await pending.run(.read, within: Int64(wait) + PendingRequests.defaultMilliseconds) {
                broker.fetch(
                    topic: request.topic, partition: request.partition, offset: from, maxBytes: maxBytes,
                    waitMilliseconds: wait, completion: $0)
            }.orStatus()
            if !fetched.bytes.isEmpty { try await deliver(fetched, from) }
            offset = max(from, fetched.nextOffset)
            let last = end ?? fetched.highWatermark
            end = last
            if !request.follow, offset >= last || fetched.bytes.isEmpty { return }
        }
    }

    /// Where to begin.
    private func startOffset(_ request: Strata_V1_ConsumeRequest) -> Result<UInt64, RequestError> {
        switch request.startFrom {
        case .startOffset: return .success(request.offset)
        case .UNRECOGNIZED(let number):
            return .failure(
                .invalid(.offsetOutOfRange, "start_from \(number) is not known; use OFFSET, EARLIEST or LATEST"))
        case .startEarliest, .startLatest:
            let topic = broker.describe().topics.first { $0.name == request.topic }
            guard let partition = topic?.partitions.first(where: { $0.partition == request.partition }) else {
                return .failure(
                    .invalid(
                        .unknownTopic,
                        topic == nil
                            ? "there is no topic '\(request.topic)'; create it first"
                            : "topic '\(request.topic)' has no partition \(request.partition); it has "
                                + "\(topic?.partitions.count ?? 0)"))
            }
            return .success(request.startFrom == .startEarliest ? partition.logStartOffset : partition.highWatermark)
        }
    }
}
