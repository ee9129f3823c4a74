// The broker over gRPC: topics, metadata and single batches. It only translates; a request that reaches a node that
// does not lead is answered with the leader's address. The streams are in BrokerGRPCService+Streams.swift.
import Broker
import Cluster
import Foundation
import GRPCCore
import StrataProtocol
import SwiftProtobuf

/// `strata.v1.LogBroker` over a broker.
struct BrokerGRPCService: Strata_V1_LogBroker.SimpleServiceProtocol {
    let broker: any BrokerService
    let pending: PendingRequests

    init(broker: any BrokerService, pending: PendingRequests = .shared) {
        self.broker = broker
        self.pending = pending
    }

    func createTopic(
        request: Strata_V1_CreateTopicRequest, context: ServerContext
    ) async throws -> Strata_V1_CreateTopicResponse {
        let result = await pending.run(.write) {
            broker.createTopic(
                name: request.name, partitions: request.partitions == 0 ? 1 : request.partitions,
                ifNotExists: request.ifNotExists, completion: $0)
        }
        return .with { response in
            guard case .failure(let error) = result else { return }
            response.error = error.code
            response.errorMessage = "\(error)"
            if let leader = error.leaderHint { response.leaderHint = leader }
        }
    }

    func listTopics(
        request: Strata_V1_ListTopicsRequest, context: ServerContext
    ) async throws -> Strata_V1_ListTopicsResponse {
        let cluster = try await describe([])
        return .with { $0.topics = cluster.topics.map { Strata_V1_TopicMetadata($0) } }
    }

    /// A topic that is asked for and does not exist is absent from the answer.
    func fetchMetadata(
        request: Strata_V1_FetchMetadataRequest, context: ServerContext
    ) async throws -> Strata_V1_FetchMetadataResponse {
        let cluster = try await describe(request.topics)
        let wanted = Set(request.topics)
        return .with { response in
            response.clusterID = cluster.clusterID
            response.nodes = cluster.members.map { Strata_V1_NodeEndpoint($0) }
            response.topics = cluster.topics.filter { wanted.isEmpty || wanted.contains($0.name) }
                .map { Strata_V1_TopicMetadata($0) }
            if let controller = cluster.controller { response.controller = Strata_V1_NodeEndpoint(controller) }
        }
    }

    /// The node's picture; fails as UNAVAILABLE while the node has just started and can't tell which topics there are.
    private func describe(_ topics: [String]) async throws -> ClusterDescription {
        try await pending.run(.read) {
            broker.describe(topics: topics, waitMilliseconds: BrokerLimits.readyWaitMilliseconds, completion: $0)
        }.orStatus()
    }

    func produce(
        request: Strata_V1_ProduceRequest, context: ServerContext
    ) async throws -> Strata_V1_ProduceResponse {
        await withCheckedContinuation { continuation in
            switch Result(catching: { () throws(RequestError) in try request.batch(now: Self.now) }) {
            case .success(let batch): start(request, batch) { continuation.resume(returning: $0) }
            case .failure(let error): continuation.resume(returning: .init(request.requestID, .failure(error)))
            }
        }
    }

    /// Hands one batch to the broker; `respond` is called once, on any thread, by the request's deadline at the latest.
    func start(
        _ request: Strata_V1_ProduceRequest, _ batch: [UInt8],
        respond: @escaping @Sendable (Strata_V1_ProduceResponse) -> Void
    ) {
        let id = request.requestID
        let acks: Acks
        switch request.acks {
        case .unspecified, .quorum: acks = .quorum
        case .leader: acks = .leader
        case .none: acks = .none
        case .UNRECOGNIZED(let number):
            let error = RequestError.invalid(.corruptBatch, "acks \(number) is not known; use NONE, LEADER or QUORUM")
            return respond(.init(id, .failure(error)))
        }
        let milliseconds =
            request.timeoutMs == 0 ? PendingRequests.defaultMilliseconds : Int64(request.timeoutMs)
        let waiting = pending.begin(.write, within: milliseconds) { (result: Result<ProduceReceipt, RequestError>) in
            respond(.init(id, result))
        }
        guard let waiting else { return }
        // A leader is waited for a little less than the client waits, so that it hears "not written" rather than
        // nothing.
        let patience = min(milliseconds - milliseconds / 4, Int64(BrokerLimits.readyWaitMilliseconds))
        broker.produce(
            topic: request.topic, partition: request.partition, batch: batch, acks: acks,
            waitMilliseconds: UInt32(patience)
        ) {
            waiting.resolve($0)
        }
    }

    /// Milliseconds since 1970.
    static var now: Int64 { Int64(Date().timeIntervalSince1970 * 1000) }
}

extension Strata_V1_ProduceResponse {
    init(_ requestID: UInt64, _ result: Result<ProduceReceipt, RequestError>) {
        self.init()
        self.requestID = requestID
        switch result {
        case .success(let receipt):
            baseOffset = receipt.baseOffset
            recordCount = receipt.recordCount
        case .failure(let error):
            self.error = error.code
            errorMessage = "\(error)"
            if let leader = error.leaderHint { leaderHint = leader }
        }
    }
}

extension Strata_V1_TopicMetadata {
    init(_ topic: TopicDescription) {
        self.init()
        name = topic.name
        partitions = topic.partitions.map { partition in
            .with {
                $0.partition = partition.partition
                if let leader = partition.leader { $0.leader = Strata_V1_NodeEndpoint(leader) }
                $0.term = partition.term
                $0.replicas = partition.replicas
                $0.logStartOffset = partition.logStartOffset
                $0.highWatermark = partition.highWatermark
                $0.problem = partition.problem ?? ""
            }
        }
    }
}
