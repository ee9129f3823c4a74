// The key-value store over gRPC. It only translates: a request that reaches a follower is forwarded by the store
// itself.
import Cluster
import Foundation
import GRPCCore
import KeyValue
import StrataProtocol
import SwiftProtobuf

/// `strata.v1.KeyValue` over a store.
struct KeyValueGRPCService: Strata_V1_KeyValue.SimpleServiceProtocol {
    let keyValue: any KeyValueService
    let pending: PendingRequests

    init(keyValue: any KeyValueService, pending: PendingRequests = .shared) {
        self.keyValue = keyValue
        self.pending = pending
    }

    func put(request: Strata_V1_PutRequest, context: ServerContext) async throws -> Strata_V1_PutResponse {
        let write = KeyValueWrite.put(key: Array(request.key), value: Array(request.value))
        let session = request.hasSession ? WriteSequence(request.session) : nil
        let revision = try await pending.run(.write) {
            keyValue.write(write, session: session, completion: $0)
        }.orStatus()
        return .with { $0.revision = revision }
    }

    func get(request: Strata_V1_GetRequest, context: ServerContext) async throws -> Strata_V1_GetResponse {
        let consistency: ReadConsistency
        switch request.consistency {
        case .linearizable: consistency = .linearizable
        case .stale: consistency = .stale
        case .UNRECOGNIZED(let number):
            throw RPCError(
                code: .invalidArgument, message: "consistency \(number) is not known; use LINEARIZABLE or STALE")
        }
        let value = try await pending.run(.read) {
            keyValue.get(key: Array(request.key), consistency: consistency, completion: $0)
        }.orStatus()
        return .with { response in
            response.found = value != nil
            response.value = Data(value ?? [])
        }
    }

    func delete(request: Strata_V1_DeleteRequest, context: ServerContext) async throws -> Strata_V1_DeleteResponse {
        let session = request.hasSession ? WriteSequence(request.session) : nil
        let revision = try await pending.run(.write) {
            keyValue.write(.delete(key: Array(request.key)), session: session, completion: $0)
        }.orStatus()
        return .with { $0.revision = revision }
    }
}
