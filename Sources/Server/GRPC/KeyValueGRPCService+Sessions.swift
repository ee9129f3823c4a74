// Sessions and increments over gRPC.
import GRPCCore
import KeyValue
import StrataProtocol
import SwiftProtobuf

extension KeyValueGRPCService {
    func increment(
        request: Strata_V1_IncrementRequest, context: ServerContext
    ) async throws -> Strata_V1_IncrementResponse {
        let write = KeyValueWrite.increment(key: Array(request.key), by: request.hasBy ? request.by : 1)
        let session = request.hasSession ? WriteSequence(request.session) : nil
        let bits = try await pending.run(.write) {
            keyValue.write(write, session: session, completion: $0)
        }.orStatus()
        return .with { $0.value = Int64(bitPattern: bits) }
    }

    func openSession(
        request: Strata_V1_OpenSessionRequest, context: ServerContext
    ) async throws -> Strata_V1_OpenSessionResponse {
        let client = try await pending.run(.write) { keyValue.openSession(completion: $0) }.orStatus()
        return .with { $0.client = client }
    }

    func closeSession(
        request: Strata_V1_CloseSessionRequest, context: ServerContext
    ) async throws -> Strata_V1_CloseSessionResponse {
        _ = try await pending.run(.write) { keyValue.closeSession(request.client, completion: $0) }.orStatus()
        return .init()
    }
}

extension WriteSequence {
    init(_ message: Strata_V1_SessionSequence) {
        self.init(client: message.client, sequence: message.sequence, acknowledged: message.acknowledged)
    }
}
