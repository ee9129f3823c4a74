// The gRPC services over loopback, as a generated client sees them: errors as data, pipelined produce, consuming from
// every kind of start, following, and the key-value calls.
import Broker
import Cluster
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import KeyValue
import Records
import StrataProtocol
import SwiftProtobuf
import Synchronization
import Testing

@testable import Server

typealias LoopbackTransport = HTTP2ClientTransport.Posix

/// Serves the services on a free port while `body` runs.
func withGRPCServices(
    _ broker: FakeBroker, _ store: FakeStore = FakeStore(), _ body: @escaping @Sendable (Int) async throws -> Void
) async throws {
    let server = GRPCServer(
        transport: try GRPCServerSettings.transport(address: ListenAddress(parsing: "127.0.0.1:0")),
        services: [BrokerGRPCService(broker: broker), KeyValueGRPCService(keyValue: store)])
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await server.serve() }
        let port = try await server.listeningAddress?.ipv4?.port ?? 0
        do {
            try await body(port)
        } catch {
            group.cancelAll()
            throw error
        }
        server.beginGracefulShutdown()
        try await group.waitForAll()
    }
}

/// Connects to such a port.
func withLoopbackClient<Value: Sendable>(
    port: Int, _ body: @Sendable (GRPCClient<LoopbackTransport>) async throws -> Value
) async throws -> Value {
    var config = LoopbackTransport.Config.defaults
    config.connection.flushCoalescing = nil
    return try await withGRPCClient(
        transport: .http2NIOPosix(
            target: .ipv4(address: "127.0.0.1", port: port), transportSecurity: .plaintext, config: config)
    ) { try await body($0) }
}

@Suite struct GRPCServiceTests {
    private typealias Broker = Strata_V1_LogBroker.Client<LoopbackTransport>

    private func withBroker(
        _ broker: FakeBroker = FakeBroker(),
        _ body: @escaping @Sendable (Strata_V1_LogBroker.Client<LoopbackTransport>, FakeBroker) async throws -> Void
    ) async throws {
        try await withGRPCServices(broker) { port in
            try await withLoopbackClient(port: port) { client in
                try await body(Strata_V1_LogBroker.Client(wrapping: client), broker)
            }
        }
    }

    private static func produceRequest(_ values: [String], topic: String = "events", id: UInt64 = 0)
        -> Strata_V1_ProduceRequest
    {
        .with {
            $0.topic = topic
            $0.requestID = id
            $0.records = values.map { value in .with { $0.value = Data(value.utf8) } }
        }
    }

    private static func values(
        _ client: Strata_V1_LogBroker.Client<LoopbackTransport>, _ request: Strata_V1_ConsumeRequest
    ) async throws -> [String] {
        try await client.consume(request) { response in
            var values: [String] = []
            for try await entry in response.messages { values.append(String(decoding: entry.value, as: UTF8.self)) }
            return values
        }
    }

    @Test func topicsAreCreatedListedAndDescribed() async throws {
        try await withBroker { client, _ in
            var created = try await client.createTopic(
                .with {
                    $0.name = "events"; $0.partitions = 3
                })
            #expect(created.error == .errorNone)
            created = try await client.createTopic(.with { $0.name = "one" })
            created = try await client.createTopic(.with { $0.name = "events" })
            #expect(created.error == .errorTopicAlreadyExists && created.errorMessage.contains("'events'"))
            created = try await client.createTopic(
                .with {
                    $0.name = "events"; $0.ifNotExists = true
                })
            #expect(created.error == .errorNone)
            created = try await client.createTopic(.init())
            #expect(created.error == .errorInvalidTopic)
            let list = try await client.listTopics(.init())
            #expect(list.topics.map(\.name) == ["events", "one"] && list.topics.map(\.partitions.count) == [3, 1])
            let metadata = try await client.fetchMetadata(.with { $0.topics = ["one", "missing"] })
            #expect(metadata.topics.map(\.name) == ["one"] && metadata.clusterID == "c1")
            #expect(metadata.topics[0].partitions[0].leader.address == "127.0.0.1:9092")
            #expect(metadata.nodes.map(\.id) == ["node1"] && metadata.controller.id == "node1")
        }
    }

    @Test func aTopicBeyondTheBudgetIsAResourceProblem() {
        let error = RequestError.invalid(.tooManyPartitions, "too many; raise the limit")
        #expect(error.code == .errorPolicyViolation)
        #expect(error.status.code == .resourceExhausted && error.status.message == "too many; raise the limit")
    }

    @Test func metadataSaysWhyAReplicaIsOutOfService() {
        func partition(_ problem: String?) -> PartitionDescription {
            PartitionDescription(
                partition: 3, leader: nil, term: 1, replicas: ["node1"], logStartOffset: 0, highWatermark: 5,
                problem: problem)
        }
        let topic = TopicDescription(name: "events", partitions: [partition("its log is damaged"), partition(nil)])
        let message = Strata_V1_TopicMetadata(topic)
        #expect(message.partitions.map(\.problem) == ["its log is damaged", ""])
    }

    @Test func recordsComeBackAsTheyWere() async throws {
        try await withBroker { client, _ in
            _ = try await client.createTopic(.with { $0.name = "events" })
            let request = Strata_V1_ProduceRequest.with {
                $0.topic = "events"
                $0.records = [
                    .with {
                        $0.key = Data("k".utf8)
                        $0.value = Data([0, 255])
                        $0.headers = [
                            .with {
                                $0.key = "h"; $0.value = Data([1])
                            }
                        ]
                        $0.timestampMs = 1_700_000_000_000
                    },
                    .with { $0.key = Data("tombstone".utf8) },
                ]
            }
            let produced = try await client.produce(request)
            #expect(produced.error == .errorNone && produced.baseOffset == 0 && produced.recordCount == 2)
            let entries = try await client.consume(.with { $0.topic = "events" }) { response in
                try await response.messages.reduce(into: []) { $0.append($1) }
            }
            #expect(entries.count == 2 && entries.map(\.offset) == [0, 1])
            #expect(entries[0].key == Data("k".utf8) && entries[0].value == Data([0, 255]))
            #expect(entries[0].headers == request.records[0].headers && entries[0].timestampMs == 1_700_000_000_000)
            #expect(entries[1].hasKey && !entries[1].hasValue && entries[1].timestampMs > 1_700_000_000_000)
            #expect(entries[1].highWatermark == 2)
        }
    }

    @Test func consumingBeginsWhereItIsAsked() async throws {
        try await withBroker { client, _ in
            _ = try await client.createTopic(.with { $0.name = "events" })
            _ = try await client.produce(Self.produceRequest(["a", "b", "c"]))
            _ = try await client.produce(Self.produceRequest(["d", "e"]))
            let request = Strata_V1_ConsumeRequest.with {
                $0.topic = "events"; $0.maxBytes = 1
            }
            var values = try await Self.values(client, request)
            #expect(values == ["a", "b", "c", "d", "e"], "small fetches go on to the end")
            // Offset 1 is in the middle of a batch.
            values = try await Self.values(
                client,
                .with {
                    $0.topic = "events"; $0.offset = 1
                })
            #expect(values == ["b", "c", "d", "e"])
            values = try await Self.values(
                client,
                .with {
                    $0.topic = "events"; $0.startFrom = .startEarliest
                })
            #expect(values.count == 5)
            values = try await Self.values(
                client,
                .with {
                    $0.topic = "events"; $0.startFrom = .startLatest
                })
            #expect(values == [])
        }
    }

    @Test func followingDeliversWhatArrivesLater() async throws {
        try await withBroker { client, _ in
            _ = try await client.createTopic(.with { $0.name = "events" })
            _ = try await client.produce(Self.produceRequest(["old"]))
            let request = Strata_V1_ConsumeRequest.with {
                $0.topic = "events"
                $0.startFrom = .startLatest
                $0.follow = true
            }
            let values = try await withThrowingTaskGroup(of: [String].self) { group in
                group.addTask {
                    try await client.consume(request) { response in
                        var values: [String] = []
                        for try await entry in response.messages {
                            values.append(String(decoding: entry.value, as: UTF8.self))
                            if values.count == 3 { break }
                        }
                        return values
                    }
                }
                try await Task.sleep(for: .milliseconds(100))
                _ = try await client.produce(Self.produceRequest(["x"]))
                _ = try await client.produce(Self.produceRequest(["y", "z"]))
                return try await group.next() ?? []
            }
            #expect(values == ["x", "y", "z"])
        }
    }

    @Test func wholeBatchesArePassedThrough() async throws {
        try await withBroker { client, _ in
            _ = try await client.createTopic(.with { $0.name = "events" })
            var batch = RecordBatch()
            for index in 0..<10 { batch.append(key: nil, value: [UInt8(index)], timestamp: 1) }
            let encoded = batch.encoded()
            let produced = try await client.produce(
                .with {
                    $0.topic = "events"; $0.recordBatch = Data(encoded)
                })
            #expect(produced.error == .errorNone && produced.recordCount == 10)
            let batches = try await client.consumeBatches(.with { $0.topic = "events" }) { response in
                try await response.messages.reduce(into: [RecordBatchView]()) {
                    $0 += try RecordBatchView.batches(in: Array($1.recordBatches))
                }
            }
            #expect(batches.map(\.count) == [10])
        }
    }

    @Test func errorsOfProduceAreData() async throws {
        try await withBroker { client, broker in
            _ = try await client.createTopic(.with { $0.name = "events" })
            var answer = try await client.produce(Self.produceRequest(["x"], topic: "missing", id: 5))
            #expect(answer.error == .errorUnknownTopicOrPartition && answer.requestID == 5)
            answer = try await client.produce(.with { $0.topic = "events" })
            #expect(answer.error == .errorCorruptMessage)
            answer = try await client.produce(
                .with {
                    $0.topic = "events"; $0.recordBatch = Data([1, 2, 3])
                })
            #expect(answer.error == .errorCorruptMessage)
            answer = try await client.produce(
                .with {
                    $0.topic = "events"; $0.records = [.with { $0.timestampMs = .min }]
                })
            #expect(answer.error == .errorCorruptMessage && answer.errorMessage.contains("milliseconds"))
            answer = try await client.produce(
                .with {
                    $0.topic = "events"
                    $0.records = [.with { $0.value = Data(count: BrokerLimits.batchBytesMax) }]
                })
            #expect(answer.error == .errorMessageTooLarge)
            answer = try await client.produce(
                .with {
                    $0.topic = "events"; $0.acks = .UNRECOGNIZED(9); $0.records = [.init()]
                })
            #expect(answer.error != .errorNone && answer.errorMessage.contains("acks 9"))

            broker.fail(with: .notLeader(leader: MemberAddress(name: "node2", address: "127.0.0.1:7002")))
            answer = try await client.produce(Self.produceRequest(["x"]))
            #expect(answer.error == .errorNotLeader && answer.leaderHint.address == "127.0.0.1:7002")
            broker.fail(with: .unavailable("no quorum"))
            answer = try await client.produce(Self.produceRequest(["x"]))
            #expect(answer.error == .errorNotEnoughReplicas)
        }
    }

    @Test func aBatchWithoutAnAnswerTimesOut() async throws {
        try await withBroker(FakeBroker(produceMillisecondsMax: 3_600_000)) { client, _ in
            _ = try await client.createTopic(.with { $0.name = "events" })
            var request = Self.produceRequest(["x"])
            request.timeoutMs = 1
            let answer = try await client.produce(request)
            #expect(answer.error == .errorRequestTimedOut)
        }
    }

    @Test func errorsOfConsumeAreStatuses() async throws {
        try await withBroker { client, broker in
            _ = try await client.createTopic(.with { $0.name = "events" })
            func code(_ request: Strata_V1_ConsumeRequest) async throws -> RPCError? {
                await #expect(throws: RPCError.self) { _ = try await Self.values(client, request) }
            }
            var error = try await code(.with { $0.topic = "missing" })
            #expect(error?.code == .notFound)
            error = try await code(
                .with {
                    $0.topic = "missing"; $0.startFrom = .startLatest
                })
            #expect(error?.code == .notFound)
            error = try await code(
                .with {
                    $0.topic = "events"; $0.offset = 7
                })
            #expect(error?.code == .outOfRange)
            broker.fail(with: .notLeader(leader: MemberAddress(name: "node2", address: "127.0.0.1:7002")))
            error = try await code(.with { $0.topic = "events" })
            #expect(error?.code == .failedPrecondition)
            let metadata = error?.metadata ?? [:]
            #expect(Array(metadata[stringValues: StatusMetadata.leaderAddress]) == ["127.0.0.1:7002"])
            #expect(Array(metadata[stringValues: StatusMetadata.errorCode]) == ["6"])
        }
    }

    @Test func keysAndValues() async throws {
        let store = FakeStore()
        store.fail("lost", with: .unknown("the leader changed"))
        try await withGRPCServices(FakeBroker(), store) { port in
            try await withLoopbackClient(port: port) { client in
                let keyValue = Strata_V1_KeyValue.Client(wrapping: client)
                let value = Data(count: KeyValueLimits.valueBytesMax)
                let put = try await keyValue.put(
                    .with {
                        $0.key = Data([255]); $0.value = value
                    })
                #expect(put.revision == 1)
                var options = CallOptions.defaults
                // The transport bounds what it receives by this option, too.
                options.maxRequestMessageBytes = 32 * 1024 * 1024
                var got = try await keyValue.get(.with { $0.key = Data([255]) }, options: options)
                #expect(got.found && got.value == value)
                let deleted = try await keyValue.delete(.with { $0.key = Data([255]) })
                #expect(deleted.revision == 2)
                got = try await keyValue.get(
                    .with {
                        $0.key = Data([255]); $0.consistency = .stale
                    })
                #expect(!got.found)
                var error = await #expect(throws: RPCError.self) { _ = try await keyValue.put(.init()) }
                #expect(error?.code == .invalidArgument && error?.message.contains("empty") == true)
                error = await #expect(throws: RPCError.self) {
                    _ = try await keyValue.delete(.with { $0.key = Data("lost".utf8) })
                }
                #expect(error?.code == .deadlineExceeded)
            }
        }
    }
}
