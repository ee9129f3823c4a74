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
    /// false or the task is cancelled. A broken stream is resumed behind the last record that `body` took.
    public func consume(
        topic: String, partition: UInt32, from start: ConsumeStart, follow: Bool = false,
        _ body: @escaping @Sendable (IncomingRecord) async throws -> Bool
    ) async throws {
        let position = ConsumePosition(start)
        try await resuming(topic, partition) { address in
            let request = Self.request(topic, partition, position.start, follow: follow)
            try await self.broker(address).consume(request, options: self.streamOptions) { response in
                for try await entry in response.messages {
                    let record = IncomingRecord(
                        offset: entry.offset, timestampMilliseconds: entry.timestampMs,
                        key: entry.hasKey ? Array(entry.key) : nil, value: entry.hasValue ? Array(entry.value) : nil)
                    position.advance(to: entry.offset + 1)
                    if try await !position.call({ try await body(record) }) { return }
                }
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
        try await resuming(topic, partition) { address in
            let request = Self.request(topic, partition, position.start, follow: follow)
            try await self.broker(address).consumeBatches(request, options: self.streamOptions) { response in
                for try await message in response.messages {
                    let batches = IncomingBatches(
                        bytes: Array(message.recordBatches), highWatermark: message.highWatermark,
                        logStartOffset: message.logStartOffset)
                    guard let next = try await position.call({ try await body(batches) }) else { return }
                    position.advance(to: next)
                }
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

    /// Runs a reading stream against the partition's leader until it ends by itself; a break is retried for as long as
    /// one request may take, counted anew after each stream that delivered something.
    private func resuming(
        _ topic: String, _ partition: UInt32, _ stream: @escaping @Sendable (String) async throws -> Void
    ) async throws {
        var deadline = ContinuousClock.now + options.requestTimeout
        while true {
            try Task.checkCancellation()
            let address = try await leader(topic, partition) ?? anyEndpoint()
            let begun = ContinuousClock.now
            do {
                return try await stream(address)
            } catch let error as ConsumerBodyError {
                throw error.underlying
            } catch let error as RPCError where error.code == .notFound {
                throw ClientError(.unknownTopic, "\(address): \(error.message)")
            } catch let error as RPCError where error.code == .invalidArgument {
                throw ClientError(.invalid, "\(address): \(error.message)")
            } catch let error as RPCError where error.code == .outOfRange {
                throw ClientError(.offsetOutOfRange, "\(address): \(error.message)")
            } catch let error as RPCError where error.code != .cancelled {
                routing.learn(topic, partition, nil)
                if ContinuousClock.now - begun > .seconds(1) {
                    deadline = ContinuousClock.now + options.requestTimeout
                }
                guard ContinuousClock.now < deadline else {
                    throw ClientError(.unavailable, "\(address): \(error.message) (\(error.code))")
                }
                try await Task.sleep(for: options.retryPause)
            }
        }
    }
}
