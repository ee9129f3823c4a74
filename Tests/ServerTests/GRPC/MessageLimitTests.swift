// A message that is larger than the listener takes: the call ends as RESOURCE_EXHAUSTED with a sentence that names the
// limit, over any kind of call, and the connection lives on.
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import NIOCore
import NIOEmbedded
import NIOHPACK
import NIOHTTP2
import StrataProtocol
import SwiftProtobuf
import Testing

@testable import Server

@Suite struct MessageLimitTests {
    private func expectLimit(_ error: RPCError?) {
        #expect(error?.code == .resourceExhausted, "\(String(describing: error))")
        #expect(error?.message.contains("at most \(GRPCServerSettings.requestBytesMax) are allowed") == true)
        let metadata = error?.metadata ?? [:]
        #expect(Array(metadata[stringValues: StatusMetadata.errorCode]) == ["10"])
    }

    @Test func aMessageOverTheLimitIsResourceExhausted() async throws {
        let store = FakeStore()
        try await withGRPCServices(FakeBroker(), store) { port in
            try await withLoopbackClient(port: port) { client in
                let keyValue = Strata_V1_KeyValue.Client(wrapping: client)
                let put = Strata_V1_PutRequest.with {
                    $0.key = Data([1])
                    $0.value = Data(count: GRPCServerSettings.requestBytesMax)
                }
                expectLimit(await #expect(throws: RPCError.self) { _ = try await keyValue.put(put) })
                let broker = Strata_V1_LogBroker.Client(wrapping: client)
                let batch = Strata_V1_ProduceRequest.with {
                    $0.topic = "events"
                    $0.recordBatch = Data(count: GRPCServerSettings.requestBytesMax)
                }
                expectLimit(await #expect(throws: RPCError.self) { _ = try await broker.produce(batch) })
                // The first answer of a stream has been sent when the message comes.
                _ = try await broker.createTopic(.with { $0.name = "events" })
                let error = await #expect(throws: RPCError.self) {
                    try await broker.produceStream { writer in
                        try await writer.write(
                            .with {
                                $0.topic = "events"
                                $0.records = [.with { $0.value = Data([1]) }]
                            })
                        try await writer.write(batch)
                    } onResponse: { response in
                        for try await _ in response.messages {}
                    }
                }
                expectLimit(error)
                // The connection serves on.
                let small = try await keyValue.put(
                    .with {
                        $0.key = Data([1])
                        $0.value = Data([2])
                    })
                #expect(small.revision == 1)
            }
        }
    }

    /// The prefix of a message may be cut anywhere, and many messages may come in one frame.
    @Test func messagesAreToldApartWhereverFramesAreCut() throws {
        func message(_ count: Int) -> [UInt8] {
            var bytes: [UInt8] = [0]
            withUnsafeBytes(of: UInt32(count).bigEndian) { bytes += $0 }
            return bytes + [UInt8](repeating: 7, count: min(count, 100))
        }
        let run = message(3) + message(0) + message(100) + message(101)
        for step in 1...run.count {
            let channel = EmbeddedChannel(handler: MessageLimit(bytesMax: 100))
            for start in stride(from: 0, to: run.count, by: step) {
                let bytes = run[start..<min(start + step, run.count)]
                try channel.writeInbound(
                    HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(ByteBuffer(bytes: bytes)))))
            }
            guard case .headers(let trailers)? = try channel.readOutbound(as: HTTP2Frame.FramePayload.self) else {
                Issue.record("step \(step): no trailers")
                continue
            }
            #expect(trailers.endStream && trailers.headers.first(name: "grpc-status") == "8")
            #expect(trailers.headers.first(name: "grpc-message")?.contains("101 bytes; at most 100") == true)
            guard case .rstStream(.noError)? = try channel.readOutbound(as: HTTP2Frame.FramePayload.self) else {
                Issue.record("step \(step): the client is not asked to stop")
                continue
            }
            _ = try channel.finish(acceptAlreadyClosed: true)
        }
    }
}
