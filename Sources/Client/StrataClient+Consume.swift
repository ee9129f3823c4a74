// Reading records of one partition, from an offset to the high watermark or for ever.
internal import Foundation
internal import GRPCCore
internal import StrataProtocol

/// Where reading begins.
public enum ConsumeStart: Hashable, Sendable {
    case offset(UInt64)
    case earliest
    /// Behind everything that is committed now.
    case latest
}

public struct IncomingRecord: Hashable, Sendable {
    public var offset: UInt64
    public var timestampMilliseconds: Int64
    public var key: [UInt8]?
    public var value: [UInt8]?
}

/// Raw record batches (Kafka v2), back to back; the first may begin below the asked offset.
public struct IncomingBatches: Hashable, Sendable {
    public var bytes: [UInt8]
    /// First offset that is not committed yet.
    public var highWatermark: UInt64
    public var logStartOffset: UInt64
}

extension StrataClient {
    /// Calls `body` for each record in order. Returns at the high watermark, or with `follow` only when `body` returns
    /// false or the task is cancelled. A broken stream is resumed behind the last record that `body` took, at whichever
    /// server leads by then; "latest" is looked up once, at the beginning.
    /// - Throws: what `body` throws, or a ``ClientError``: ``ClientError/Code/unavailable`` when no stream could be
    ///   resumed for ``ClientOptions/requestTimeout``, ``ClientError/Code/corruptBatch`` at a batch that can't be read.
    public func consume(
        topic: String, partition: UInt32, from start: ConsumeStart, follow: Bool = false,
        _ body: @escaping @Sendable (IncomingRecord) async throws -> Bool
    ) async throws {
        let position = ConsumePosition(start)
        try await resuming(topic, partition, position, follow: follow) { address in
            let request = Self.request(topic, partition, position.start, follow: follow)
            return try await self.broker(address).consume(request, options: self.streamOptions) { response in
                for try await entry in response.messages {
                    let record = IncomingRecord(
                        offset: entry.offset, timestampMilliseconds: entry.timestampMs,
                        key: entry.hasKey ? Array(entry.key) : nil, value: entry.hasValue ? Array(entry.value) : nil)
                    position.noteMessage(highWatermark: entry.highWatermark)
                    position.advance(to: entry.offset + 1)
                    if try await !position.call({ try await body(record) }) { return StreamOutcome.stopped }
                }
                return StreamOutcome.closed
            }
        }
    }

    /// As `consume`, in raw batches: the fast way. `body` returns the offset to go on from after a broken stream, or
    /// nil to stop.
    public func consumeBatches(
        topic: String, partition: UInt32, from start: ConsumeStart, follow: Bool = false,
        _ body: @escaping @Sendable (IncomingBatches) async throws -> UInt64?
    ) async throws {
        let position = ConsumePosition(start)
        try await resuming(topic, partition, position, follow: follow) { address in
            let request = Self.request(topic, partition, position.start, follow: follow)
            return try await self.broker(address).consumeBatches(request, options: self.streamOptions) { response in
                for try await message in response.messages {
                    let batches = IncomingBatches(
                        bytes: Array(message.recordBatches), highWatermark: message.highWatermark,
                        logStartOffset: message.logStartOffset)
                    position.noteMessage(highWatermark: message.highWatermark)
                    guard let next = try await position.call({ try await body(batches) }) else {
                        return StreamOutcome.stopped
                    }
                    position.advance(to: next)
                }
                return StreamOutcome.closed
            }
        }
    }

    private static func request(
        _ topic: String, _ partition: UInt32, _ start: ConsumeStart, follow: Bool
    ) -> Strata_V1_ConsumeRequest {
        var request = Strata_V1_ConsumeRequest()
        request.topic = topic
        request.partition = partition
        request.follow = follow
        switch start {
        case .offset(let offset):
            request.startFrom = .startOffset
            request.offset = offset
        case .earliest: request.startFrom = .startEarliest
        case .latest: request.startFrom = .startLatest
        }
        return request
    }

    /// Runs reading streams against the partition's leader, one after another, until one ends at its end. A break is
    /// retried for as long as one request may take, counted anew from each stream that delivered something or lived
    /// long.
    private func resuming(
        _ topic: String, _ partition: UInt32, _ position: ConsumePosition, follow: Bool,
        _ stream: @escaping @Sendable (String) async throws -> StreamOutcome
    ) async throws {
        var deadline = newDeadline
        var earlier: ClientError?
        while true {
            try Task.checkCancellation()
            let address: String
            do throws(ClientError) {
                // Asked once: a second stream that began at its own "latest" would skip what was committed in between.
                if position.start == .latest {
                    position.advance(to: try await endOffset(topic, partition, until: deadline))
                }
                address = try await leader(topic, partition, until: deadline) ?? anyEndpoint()
            } catch {
                // Why the stream broke says more than that nobody answered since.
                throw error.code == .unavailable ? earlier ?? error : error
            }
            let begun = ContinuousClock.now
            let failure: ClientError
            position.beginStream()
            do {
                if case .stopped = try await stream(address) { return }
                if !follow, position.isAtEnd { return }
                routing.learn(topic, partition, nil)
                failure = ClientError(.unavailable, "\(address): the stream ended before its end")
            } catch let error as ConsumerBodyError {
                throw error.underlying
            } catch let error as RPCError {
                if error.code == .cancelled { try Task.checkCancellation() }
                failure = try readFailure(error, topic, partition, address)
            }
            if position.hasDelivered || ContinuousClock.now - begun > .seconds(1) { deadline = newDeadline }
            guard ContinuousClock.now + options.retryPause < deadline else { throw failure }
            earlier = failure
            try await Task.sleep(for: options.retryPause)
        }
    }

    /// What a broken stream means.
    /// - Returns: the failure, if another attempt may help; the routing has learned from it.
    /// - Throws: the failure, if not.
    private func readFailure(
        _ error: RPCError, _ topic: String, _ partition: UInt32, _ address: String
    ) throws(ClientError) -> ClientError {
        let text = "\(address): \(error.message)"
        switch error.code {
        case .notFound: throw ClientError(.unknownTopic, text)
        case .invalidArgument, .unimplemented, .resourceExhausted: throw ClientError(.invalid, text)
        case .outOfRange: throw ClientError(.offsetOutOfRange, text)
        case .dataLoss:
            var failure = ClientError(.corruptBatch, text)
            failure.nextOffset = error.metadata[stringValues: "strata-next-offset"].first { _ in true }.flatMap(
                UInt64.init)
            throw failure
        default:
            let leader = error.metadata[stringValues: StrataClient.leaderKey].first { _ in true }
            routing.learn(topic, partition, leader)
            return ClientError(error.code == .internalError ? .storage : .unavailable, "\(text) (\(error.code))")
        }
    }
}
