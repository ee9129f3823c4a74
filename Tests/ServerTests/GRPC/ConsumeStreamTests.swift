// Consuming what is hard to consume: batches that can't be read, compressed ones, a node that is not ready yet, and a
// node that goes away. A stream that follows ends only with a status that says why.
import Broker
import Cluster
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import NIOPosix
import Records
import StrataProtocol
import SwiftProtobuf
import Synchronization
import Testing

@testable import Server

@Suite struct ConsumeStreamTests {
    private typealias Client = Strata_V1_LogBroker.Client<LoopbackTransport>

    /// What came, and how it ended.
    private struct Outcome: Sendable {
        var values: [String] = []
        var error: RPCError?
    }

    private static func consume(
        _ client: Strata_V1_LogBroker.Client<LoopbackTransport>, from offset: UInt64, follow: Bool = false,
        _ seen: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws -> Outcome {
        let request = Strata_V1_ConsumeRequest.with {
            $0.topic = "events"
            $0.offset = offset
            $0.follow = follow
        }
        return try await client.consume(request) { response in
            var outcome = Outcome()
            do {
                for try await entry in response.messages {
                    outcome.values.append(String(decoding: entry.value, as: UTF8.self))
                    seen(outcome.values.count)
                }
            } catch let error as RPCError {
                outcome.error = error
            }
            return outcome
        }
    }

    private func withTopic(
        _ body: @escaping @Sendable (Strata_V1_LogBroker.Client<LoopbackTransport>, FakeBroker) async throws -> Void
    ) async throws {
        let broker = FakeBroker()
        try await withGRPCServices(broker) { port in
            try await withLoopbackClient(port: port) { client in
                let client = Client(wrapping: client)
                _ = try await client.createTopic(.with { $0.name = "events" })
                try await body(client, broker)
            }
        }
    }

    private static func batch(_ values: [String]) -> [UInt8] {
        var batch = RecordBatch()
        for value in values { batch.append(key: nil, value: Array(value.utf8), timestamp: 1) }
        return batch.encoded()
    }

    /// Five records claimed, one there, and the checksum holds: what version 21de153 took from clients.
    private static var lying: [UInt8] {
        var bytes = batch(["good, but one of five"])
        bytes.replaceSubrange(23..<27, with: [0, 0, 0, 4])
        bytes.replaceSubrange(57..<61, with: [0, 0, 0, 5])
        return sealed(bytes)
    }

    private static func sealed(_ batch: [UInt8]) -> [UInt8] {
        var checksum: UInt32 = 0xFFFF_FFFF
        for byte in batch[21...] {
            checksum ^= UInt32(byte)
            for _ in 0..<8 { checksum = checksum & 1 == 1 ? (checksum >> 1) ^ 0x82F6_3B78 : checksum >> 1 }
        }
        var bytes = batch
        withUnsafeBytes(of: (checksum ^ 0xFFFF_FFFF).bigEndian) { bytes.replaceSubrange(17..<21, with: $0) }
        return bytes
    }

    @Test func aBatchThatLiesAboutItsRecordsIsRefusedAtProduce() async throws {
        try await withTopic { client, broker in
            var claims = Self.lying
            claims.removeSubrange(61...)
            claims.replaceSubrange(8..<12, with: [0, 0, 0, 49])
            claims.replaceSubrange(23..<27, with: [0x7F, 0xFF, 0xFF, 0xFE])
            claims.replaceSubrange(57..<61, with: [0x7F, 0xFF, 0xFF, 0xFF])
            var control = Self.batch(["x"])
            control[22] = 0x20
            var transactional = Self.batch(["x"])
            transactional[22] = 0x10
            var unknownCodec = Self.batch(["x"])
            unknownCodec[22] = 5
            for bytes in [Self.lying, claims, control, transactional, unknownCodec] {
                let answer = try await client.produce(
                    .with {
                        $0.topic = "events"
                        $0.recordBatch = Data(Self.sealed(bytes))
                    })
                #expect(answer.error == .errorInvalidRecord, "\(answer.errorMessage)")
                #expect(answer.errorMessage.contains("record batch"))
            }
            #expect(broker.describe().topics[0].partitions[0].highWatermark == 0)
        }
    }

    @Test func whatStandsBeforeABatchThatCannotBeReadIsDelivered() async throws {
        try await withTopic { client, broker in
            broker.store(Self.batch(["a", "b"]), count: 2, in: "events")
            broker.store(Self.lying, count: 5, in: "events")
            broker.store(Self.batch(["c"]), count: 1, in: "events")
            var outcome = try await Self.consume(client, from: 0)
            #expect(outcome.values == ["a", "b"])
            for offset in 2..<7 as Range<UInt64> {
                if offset > 2 { outcome = try await Self.consume(client, from: offset) }
                #expect(outcome.error?.code == .dataLoss, "not a failure of the storage")
                #expect(outcome.error?.message.contains("offset 2 of events-0") == true)
                let metadata = outcome.error?.metadata ?? [:]
                #expect(Array(metadata[stringValues: StatusMetadata.nextOffset]) == ["7"])
                #expect(Array(metadata[stringValues: StatusMetadata.errorCode]) == ["2"])
            }
            outcome = try await Self.consume(client, from: 7)
            #expect(outcome.values == ["c"] && outcome.error == nil)
        }
    }

    @Test func compressedRecordsAreDelivered() async throws {
        try await withTopic { client, broker in
            // One record in a raw snappy block, written by hand: 13 literal bytes that end with the first "Hello, ", a
            // copy of 19 from 7 back, and two literal bytes, "!" and the count of headers.
            let value = Array("Hello, Hello, Hello, Hello!".utf8)
            let record: [UInt8] = [66, 0, 0, 0, 1, 54] + value + [0]
            var block: [UInt8] = [34, 48]
            block += record[..<13]
            block += [74, 7, 0, 4]
            block += record[32...]
            var batch = Self.batch(["x"])
            batch.removeSubrange(61...)
            batch += block
            batch[11] = UInt8(batch.count - 12)
            batch[22] = 2
            let answer = try await client.produce(
                .with {
                    $0.topic = "events"
                    $0.recordBatch = Data(Self.sealed(batch))
                })
            #expect(answer.error == .errorNone, "\(answer.errorMessage)")
            let outcome = try await Self.consume(client, from: 0)
            #expect(outcome.values == ["Hello, Hello, Hello, Hello!"] && outcome.error == nil)
        }
    }

    @Test func aNodeThatIsNotReadyYetIsWaitedFor() async throws {
        try await withTopic { client, broker in
            broker.store(Self.batch(["a"]), count: 1, in: "events")
            broker.failFetches(with: .unavailable("the partition is just being opened"), times: 5)
            var outcome = try await Self.consume(client, from: 0)
            #expect(outcome.values == ["a"] && outcome.error == nil)
            broker.failFetches(with: .notLeader(leader: nil), times: 5)
            outcome = try await Self.consume(client, from: 0)
            #expect(outcome.values == ["a"] && outcome.error == nil)
            broker.fail(with: .unavailable("no quorum"))
            outcome = try await Self.consume(client, from: 0)
            #expect(outcome.error?.code == .unavailable)
        }
    }

    /// A node that is told to stop ends the streams that follow with a reason, at once and not after their wait.
    @Test func followingEndsWithAReasonWhenTheNodeStops() async throws {
        let broker = FakeBroker()
        let server = GRPCServer(
            transport: try GRPCServerSettings.transport(address: ListenAddress(parsing: "127.0.0.1:0")),
            services: [BrokerGRPCService(broker: broker)])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            let port = try await server.listeningAddress?.ipv4?.port ?? 0
            try await withLoopbackClient(port: port) { client in
                let client = Client(wrapping: client)
                _ = try await client.createTopic(.with { $0.name = "events" })
                broker.store(Self.batch(["a"]), count: 1, in: "events")
                let outcome = try await Self.consume(client, from: 0, follow: true) { _ in
                    server.beginGracefulShutdown()
                }
                #expect(outcome.values == ["a"])
                #expect(outcome.error?.code == .unavailable)
                #expect(
                    outcome.error?.message.contains("shutting down") == true, "\(String(describing: outcome.error))")
            }
            try await group.waitForAll()
        }
    }

    @Test func theEndOfAStreamWakesWhoWaits() async {
        let pending = PendingRequests(group: MultiThreadedEventLoopGroup.singleton)
        let end = StreamEnd()
        let waiting = Task {
            await pending.run(.read, within: 300_000, until: end) { (_: (Result<Int, RequestError>) -> Void) in }
        }
        end.reach()
        #expect(await waiting.value == .failure(.unavailable("the call is over")))
        #expect(end.isReached)
    }
}
