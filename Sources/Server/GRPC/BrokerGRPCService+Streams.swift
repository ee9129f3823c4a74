// The broker's streams: pipelined produce, and consuming as records or as whole batches.
import Broker
import Cluster
import Foundation
import GRPCCore
import Records
import StrataProtocol
import SwiftProtobuf

extension BrokerGRPCService {
    /// Reads on while batches are in flight, up to `ProduceWindow`'s bounds; answers carry their request's id and come
    /// in any order. Ends after the last answer when the client closes its side; with UNAVAILABLE, also after the last
    /// answer, when the server shuts down before that.
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
                        guard await admit(message, to: window) else { return false }
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
            if window.isCut { throw Self.shuttingDown(nil, "go on") }
        } onCancelRPC: {
            window.cut()
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

    /// Ends with DATA_LOSS at a batch that can't be read, behind everything that stands before it; the status says from
    /// which offset to go on.
    func consume(
        request: Strata_V1_ConsumeRequest, response: RPCWriter<Strata_V1_LogEntry>, context: ServerContext
    ) async throws {
        try await pump(request) { fetched, offset in
            let run = RecordBatchView.split(fetched.bytes)
            for batch in run.batches {
                var reader: RecordReader
                do throws(RecordsError) {
                    reader = try batch.reader()
                } catch {
                    throw Self.unreadable(request, max(batch.baseOffset, 0), batch.endOffset, error)
                }
                try await Self.write(&reader, from: offset, highWatermark: fetched.highWatermark, to: response)
            }
            if let error = run.error {
                let start = run.batches.last?.endOffset ?? offset
                throw Self.unreadable(request, Int64(clamping: start), fetched.nextOffset, error)
            }
        }
    }

    /// Writes a batch's records in pieces, so that a slow consumer holds back the decoding rather than fill the
    /// writer's queue.
    private static func write(
        _ reader: inout RecordReader, from offset: UInt64, highWatermark: UInt64,
        to response: RPCWriter<Strata_V1_LogEntry>
    ) async throws {
        var entries: [Strata_V1_LogEntry] = []
        while let record = try reader.next() {
            guard record.offset >= offset else { continue }
            entries.append(Strata_V1_LogEntry(record, highWatermark: highWatermark))
            guard entries.count == entriesPerWrite else { continue }
            try await response.write(contentsOf: entries)
            entries.removeAll(keepingCapacity: true)
        }
        if !entries.isEmpty { try await response.write(contentsOf: entries) }
    }

    func consumeBatches(
        request: Strata_V1_ConsumeRequest, response: RPCWriter<Strata_V1_RecordBatches>, context: ServerContext
    ) async throws {
        try await pump(request) { fetched, _ in
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
    /// How long a fetch at the end waits for more.
    private static let followMilliseconds: UInt32 = 500

    /// Fetches from the asked position on and delivers what is found, with the offset that it was asked from. Without
    /// `follow` it ends at the high watermark that the first fetch saw; with it, only with a status that says why.
    private func pump(
        _ request: Strata_V1_ConsumeRequest, deliver: (FetchedBatches, UInt64) async throws -> Void
    ) async throws {
        let end = StreamEnd()
        try await withRPCCancellationHandler {
            var offset = try await startOffset(request, end)
            let asked = request.maxBytes == 0 ? Self.fetchBytesDefault : request.maxBytes
            let maxBytes = min(Int(asked), BrokerLimits.fetchBytesMax)
            let wait = request.follow ? Self.followMilliseconds : 0
            var last: UInt64?
            while !end.isReached {
                let from = offset
                let fetched = try await whenReady(end) {
                    await pending.run(.read, within: Int64(wait) + PendingRequests.defaultMilliseconds, until: end) {
                        broker.fetch(
                            topic: request.topic, partition: request.partition, offset: from, maxBytes: maxBytes,
                            waitMilliseconds: wait, completion: $0)
                    }
                }
                if !fetched.bytes.isEmpty { try await deliver(fetched, from) }
                offset = max(from, fetched.nextOffset)
                let goal = last ?? fetched.highWatermark
                last = goal
                if request.follow { continue }
                if offset >= goal { return }
                guard !fetched.bytes.isEmpty else {
                    throw RequestError.storage("the log ends at \(offset), before the high watermark \(goal)").status
                }
            }
            throw Self.shuttingDown(offset)
        } onCancelRPC: {
            end.reach()
        }
    }

    /// Where to begin. "Latest" is the high watermark of a leader that has confirmed itself, never that of a node which
    /// does not know it yet.
    private func startOffset(_ request: Strata_V1_ConsumeRequest, _ end: StreamEnd) async throws -> UInt64 {
        switch request.startFrom {
        case .startOffset: return request.offset
        case .UNRECOGNIZED(let number):
            throw RequestError.invalid(
                .offsetOutOfRange, "start_from \(number) is not known; use OFFSET, EARLIEST or LATEST"
            ).status
        case .startEarliest, .startLatest:
            let offsets = try await whenReady(end) {
                await pending.run(.read, until: end) {
                    broker.offsets(topic: request.topic, partition: request.partition, completion: $0)
                }
            }
            return request.startFrom == .startEarliest ? offsets.logStartOffset : offsets.highWatermark
        }
    }

    /// Asks again while the node is not ready to serve the partition: it has just started, or no leader is known.
    private func whenReady<Value: Sendable>(
        _ end: StreamEnd, _ ask: () async -> Result<Value, RequestError>
    ) async throws -> Value {
        let deadline = ContinuousClock.now + .milliseconds(Int(BrokerLimits.readyWaitMilliseconds))
        while true {
            let result = await ask()
            if end.isReached, case .failure = result { throw Self.shuttingDown(nil) }
            switch result {
            case .failure(.unavailable), .failure(.notLeader(nil)): break
            default: return try result.orStatus()
            }
            guard ContinuousClock.now < deadline else { return try result.orStatus() }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    private static func shuttingDown(_ offset: UInt64?, _ advice: String = "read on") -> RPCError {
        RPCError(
            code: .unavailable,
            message: "the node is shutting down; \(advice) at another" + (offset.map { ", from offset \($0)" } ?? ""),
            metadata: [StatusMetadata.errorCode: "\(Strata_V1_ErrorCode.errorNotEnoughReplicas.rawValue)"])
    }

    /// A stored batch that can't be read, and where the next one begins.
    private static func unreadable(
        _ request: Strata_V1_ConsumeRequest, _ start: Int64, _ next: UInt64, _ error: RecordsError
    ) -> RPCError {
        let name = "\(request.topic)-\(request.partition)"
        return RPCError(
            code: .dataLoss,
            message:
                "the record batch at offset \(start) of \(name) can't be read: \(error); go on from offset \(next), "
                + "or read it as it is with ConsumeBatches",
            metadata: [
                StatusMetadata.errorCode: "\(Strata_V1_ErrorCode.errorCorruptMessage.rawValue)",
                StatusMetadata.nextOffset: "\(next)",
            ])
    }
}
