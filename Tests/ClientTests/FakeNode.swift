// A node for tests: the real protocol on a real port, with a broker that is a list of batches and does what a test
// wants: claim not to lead, refuse, lose its answer, or break its streams.
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import StrataProtocol
import SwiftProtobuf
import Synchronization

/// What the nodes of one fake cluster share.
final class FakeCluster: Sendable {
    struct State {
        var addresses: [String] = []
        var leader = 0
        /// Whom metadata names as leader, when that is not the truth.
        var believedLeader: Int?
        var batches: [Data] = []
        var values: [Data: Data] = [:]
        /// Answers of increments, by client and sequence.
        var answers: [[UInt64]: Int64] = [:]
        var sessionsOpened: UInt64 = 0
        /// Sessions that are not over.
        var sessions: Set<UInt64> = []
        var sessionsClosed: [UInt64] = []
        /// Requests to consume, in order.
        var consumes: [Strata_V1_ConsumeRequest] = []
        /// Records that one stream of Consume delivers before it ends without a word; nil for all.
        var recordsPerStream: Int?
        /// Called at the beginning of each stream of Consume with its number from 1; what it throws ends the stream.
        var onConsume: @Sendable (Int, inout State) throws -> Void = { _, _ in }
        /// Calls of any kind, for `script`.
        var calls = 0
    }

    enum Step: Sendable {
        case honest
        case fail(Strata_V1_ErrorCode)
        case status(RPCError)
        /// Never answers.
        case hang
    }

    let state = Mutex(State())
    private let script: @Sendable (_ call: Int) -> Step

    init(script: @escaping @Sendable (_ call: Int) -> Step = { _ in .honest }) {
        self.script = script
    }

    /// What `script` says of the call that comes next, without counting it.
    func hanging() -> Step { script(state.withLock { $0.calls } + 1) }

    func step() -> Step {
        script(
            state.withLock { state in
                state.calls += 1
                return state.calls
            })
    }

    /// Runs `body` while `count` nodes serve.
    static func with<Value: Sendable>(
        nodes count: Int, script: @escaping @Sendable (Int) -> Step = { _ in .honest },
        _ body: @Sendable (FakeCluster, [String]) async throws -> Value
    ) async throws -> Value {
        let cluster = FakeCluster(script: script)
        let servers = (0..<count).map { index in
            GRPCServer(
                transport: .http2NIOPosix(
                    address: .ipv4(host: "127.0.0.1", port: 0), transportSecurity: .plaintext),
                services: [FakeBroker(cluster: cluster, index: index), FakeKeyValue(cluster: cluster)])
        }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for server in servers { group.addTask { try await server.serve() } }
            var addresses: [String] = []
            for server in servers {
                let port = try await server.listeningAddress?.ipv4?.port ?? 0
                addresses.append("127.0.0.1:\(port)")
            }
            let known = addresses
            cluster.state.withLock { $0.addresses = known }
            let result = try await body(cluster, known)
            group.cancelAll()
            return result
        }
    }
}

struct FakeBroker: Strata_V1_LogBroker.SimpleServiceProtocol {
    let cluster: FakeCluster
    let index: Int

    private func hint() -> Strata_V1_NodeEndpoint {
        .with { endpoint in
            endpoint.address = cluster.state.withLock { $0.addresses[$0.leader] }
        }
    }

    private func append(_ request: Strata_V1_ProduceRequest) throws -> Strata_V1_ProduceResponse {
        var response = Strata_V1_ProduceResponse()
        response.requestID = request.requestID
        guard cluster.state.withLock({ $0.leader }) == index else {
            response.error = .errorNotLeader
            response.errorMessage = "not the leader"
            response.leaderHint = hint()
            return response
        }
        switch cluster.step() {
        case .fail(let code):
            response.error = code
            response.errorMessage = "as the test wants"
        case .status(let error):
            throw error
        case .honest, .hang:
            break
        }
        guard response.error == .errorNone else { return response }
        response.baseOffset = cluster.state.withLock { state in
            state.batches.append(request.recordBatch)
            return UInt64(state.batches.count - 1)
        }
        response.recordCount = 1
        return response
    }

    func produce(
        request: Strata_V1_ProduceRequest, context: ServerContext
    ) async throws -> Strata_V1_ProduceResponse {
        if case .hang = cluster.hanging() { try await Task.sleep(for: .seconds(600)) }
        return try append(request)
    }

    func produceStream(
        request: RPCAsyncSequence<Strata_V1_ProduceRequest, any Error>,
        response: RPCWriter<Strata_V1_ProduceResponse>, context: ServerContext
    ) async throws {
        for try await message in request { try await response.write(try append(message)) }
    }

    func createTopic(
        request: Strata_V1_CreateTopicRequest, context: ServerContext
    ) async throws -> Strata_V1_CreateTopicResponse {
        var response = Strata_V1_CreateTopicResponse()
        switch cluster.step() {
        case .fail(let code):
            response.error = code
            response.errorMessage = "as the test wants"
        case .hang: try await Task.sleep(for: .seconds(600))
        case .honest, .status: break
        }
        return response
    }

    func listTopics(
        request: Strata_V1_ListTopicsRequest, context: ServerContext
    ) async throws -> Strata_V1_ListTopicsResponse {
        .init()
    }

    func fetchMetadata(
        request: Strata_V1_FetchMetadataRequest, context: ServerContext
    ) async throws -> Strata_V1_FetchMetadataResponse {
        let state = cluster.state.withLock { $0 }
        return .with { response in
            response.topics = [
                .with { topic in
                    topic.name = "events"
                    topic.partitions = [
                        .with { partition in
                            partition.leader.address = state.addresses[state.believedLeader ?? state.leader]
                            partition.highWatermark = UInt64(state.batches.count)
                        }
                    ]
                }
            ]
        }
    }

    func consume(
        request: Strata_V1_ConsumeRequest, response: RPCWriter<Strata_V1_LogEntry>, context: ServerContext
    ) async throws {
        let (batches, most) = try cluster.state.withLock { state in
            state.consumes.append(request)
            try state.onConsume(state.consumes.count, &state)
            return (state.batches, state.recordsPerStream ?? .max)
        }
        let start = request.startFrom == .startLatest ? batches.count : Int(request.offset)
        let count = min(max(batches.count - start, 0), most)
        for offset in start..<start + count {
            if case .status(let error) = cluster.step() { throw error }
            try await response.write(
                .with { entry in
                    entry.offset = UInt64(offset)
                    entry.value = batches[offset]
                    entry.highWatermark = UInt64(batches.count)
                })
        }
    }

    func consumeBatches(
        request: Strata_V1_ConsumeRequest, response: RPCWriter<Strata_V1_RecordBatches>, context: ServerContext
    ) async throws {
        let batches = cluster.state.withLock { $0.batches }
        try await response.write(
            .with { message in
                message.recordBatches = batches.dropFirst(Int(request.offset)).reduce(Data(), +)
                message.highWatermark = UInt64(batches.count)
            })
    }
}

struct FakeKeyValue: Strata_V1_KeyValue.SimpleServiceProtocol {
    let cluster: FakeCluster

    private func obey() async throws {
        switch cluster.step() {
        case .status(let error): throw error
        case .hang: try await Task.sleep(for: .seconds(600))
        case .honest, .fail: break
        }
    }

    func put(request: Strata_V1_PutRequest, context: ServerContext) async throws -> Strata_V1_PutResponse {
        try await obey()
        return cluster.state.withLock { state in
            state.values[request.key] = request.value
            return .with { $0.revision = UInt64(state.values.count) }
        }
    }

    func get(request: Strata_V1_GetRequest, context: ServerContext) async throws -> Strata_V1_GetResponse {
        try await obey()
        let value = cluster.state.withLock { $0.values[request.key] }
        return .with { response in
            response.found = value != nil
            response.value = value ?? Data()
        }
    }

    func delete(request: Strata_V1_DeleteRequest, context: ServerContext) async throws -> Strata_V1_DeleteResponse {
        try await obey()
        cluster.state.withLock { $0.values[request.key] = nil }
        return .init()
    }

    /// Applies and then obeys: an answer can be lost behind a write.
    func increment(
        request: Strata_V1_IncrementRequest, context: ServerContext
    ) async throws -> Strata_V1_IncrementResponse {
        let value = try cluster.state.withLock { state in
            let id = [request.session.client, request.session.sequence]
            guard state.sessions.contains(request.session.client) else {
                throw RPCError(code: .aborted, message: "the session is over", metadata: ["strata-error": "59"])
            }
            if let known = state.answers[id] { return known }
            let number = (Int64(String(decoding: state.values[request.key] ?? Data("0".utf8), as: UTF8.self)) ?? 0)
            state.values[request.key] = Data("\(number + request.by)".utf8)
            state.answers[id] = number + request.by
            return number + request.by
        }
        try await obey()
        return .with { $0.value = value }
    }

    func openSession(
        request: Strata_V1_OpenSessionRequest, context: ServerContext
    ) async throws -> Strata_V1_OpenSessionResponse {
        // Long enough for every write of a test to come while the first session is being opened.
        try await Task.sleep(for: .milliseconds(50))
        let client = cluster.state.withLock { state in
            state.sessionsOpened += 1
            state.sessions.insert(state.sessionsOpened)
            return state.sessionsOpened
        }
        return .with { $0.client = client }
    }

    func closeSession(
        request: Strata_V1_CloseSessionRequest, context: ServerContext
    ) async throws -> Strata_V1_CloseSessionResponse {
        cluster.state.withLock { state in
            state.sessions.remove(request.client)
            state.sessionsClosed.append(request.client)
        }
        return .init()
    }
}
