// The pipelined produce stream: requests run together, answers find their requests, bounds hold, and the stream ends as
// it should whoever ends it.
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import StrataProtocol
import SwiftProtobuf
import Synchronization
import Testing

@testable import Server

@Suite struct ProduceStreamTests {
    private static func request(_ id: UInt64) -> Strata_V1_ProduceRequest {
        .with {
            $0.topic = id % 10 == 7 ? "missing" : "events"
            $0.requestID = id
            $0.records = [.with { $0.value = Data("\(id)".utf8) }]
        }
    }

    @Test func requestsRunTogetherAndEachIsAnswered() async throws {
        let broker = FakeBroker(produceMillisecondsMax: 20)
        try await withGRPCServices(broker) { port in
            try await withLoopbackClient(port: port) { client in
                let client = Strata_V1_LogBroker.Client(wrapping: client)
                _ = try await client.createTopic(.with { $0.name = "events" })
                let count: UInt64 = 3000
                let answers = try await client.produceStream { writer in
                    try await writer.write(contentsOf: (1...count).map { Self.request($0) })
                } onResponse: { response in
                    try await response.messages.reduce(into: [UInt64: Strata_V1_ProduceResponse]()) {
                        $0[$1.requestID] = $1
                    }
                }
                #expect(answers.count == Int(count))
                for (id, answer) in answers {
                    #expect((answer.error == .errorUnknownTopicOrPartition) == (id % 10 == 7))
                }
                let offsets = answers.values.filter { $0.error == .errorNone }.map(\.baseOffset).sorted()
                #expect(offsets == (0..<UInt64(offsets.count)).map { $0 })
                #expect(broker.inFlightMost > 32 && broker.inFlightMost <= ProduceWindow.requestsMax)
            }
        }
    }

    @Test func shutdownAnswersWhatIsInFlightAndEndsTheStreamAsUnavailable() async throws {
        let broker = FakeBroker(produceMillisecondsMax: 30)
        let server = GRPCServer(
            transport: try GRPCServerSettings.transport(address: ListenAddress(parsing: "127.0.0.1:0")),
            services: [BrokerGRPCService(broker: broker)])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            let port = try await server.listeningAddress?.ipv4?.port ?? 0
            try await withLoopbackClient(port: port) { client in
                let client = Strata_V1_LogBroker.Client(wrapping: client)
                _ = try await client.createTopic(.with { $0.name = "events" })
                let answered = Mutex(0)
                let error = await #expect(throws: RPCError.self) {
                    try await client.produceStream { writer in
                        for id in 1...50 where id % 10 != 7 { try await writer.write(Self.request(UInt64(id))) }
                        // The client's side stays open; only the server ends the stream.
                        try? await Task.sleep(for: .seconds(60))
                    } onResponse: { response in
                        for try await _ in response.messages {
                            let count = answered.withLock { count in
                                count += 1
                                return count
                            }
                            if count == 1 { server.beginGracefulShutdown() }
                        }
                    }
                }
                #expect(error?.code == .unavailable)
                #expect(answered.withLock { $0 } >= 1)
            }
            try await group.waitForAll()
        }
    }

    @Test func theWindowHoldsTheReaderBackByBytes() async throws {
        let window = ProduceWindow()
        let half = ProduceWindow.bytesMax / 2
        var isAdmitted = await window.enter(bytes: half)
        #expect(isAdmitted)
        isAdmitted = await window.enter(bytes: half)
        #expect(isAdmitted)
        let third = Task { await window.enter(bytes: 1) }
        try await Task.sleep(for: .milliseconds(20))
        window.answer(.init(), bytes: half)
        let batch = await window.next()
        #expect(batch?.count == 1)
        #expect(await third.value)
        window.answer(.init(), bytes: half)
        window.answer(.init(), bytes: 1)
        window.finish()
        let rest = await window.next()
        #expect(rest?.count == 2)
        let end = await window.next()
        #expect(end == nil)
        isAdmitted = await window.enter(bytes: 1)
        #expect(!isAdmitted)
    }

    @Test func abortingReleasesBothSides() async throws {
        let window = ProduceWindow()
        _ = await window.enter(bytes: ProduceWindow.bytesMax)
        let reader = Task { await window.enter(bytes: 1) }
        let writer = Task { await window.next() }
        try await Task.sleep(for: .milliseconds(20))
        window.abort()
        #expect(await reader.value == false)
        #expect(await writer.value == nil)
    }
}
