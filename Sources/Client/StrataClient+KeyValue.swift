// Keys and values. Any server takes them: a follower forwards to the leader.
internal import Foundation
internal import GRPCCore
internal import StrataProtocol

/// How fresh a read has to be.
public enum ReadFreshness: Hashable, Sendable {
    /// Sees every write acknowledged before it began.
    case linearizable
    /// Whatever the asked server has applied.
    case stale
}

extension StrataClient {
    /// Stores a value.
    /// - Parameter isIdempotent: writing the value twice does no harm (nobody else writes the key), so unknown outcomes
    ///   are retried without a session too.
    /// - Returns: the store's revision.
    @discardableResult
    public func put(
        _ key: [UInt8], _ value: [UInt8], isIdempotent: Bool = false
    ) async throws(ClientError) -> UInt64 {
        var request = Strata_V1_PutRequest()
        request.key = Data(key)
        request.value = Data(value)
        let message = request
        return try await once(isIdempotent: isIdempotent) { (address, options, session, sent) async throws -> UInt64 in
            var message = message
            if let session { message.session = session }
            let response: Strata_V1_PutResponse = try await self.pool.connection(to: address).once(
                message, Strata_V1_KeyValue.Method.Put.descriptor, options: options, sent: sent)
            return response.revision
        }
    }

    /// Removes a key; a missing one is a success. Removing twice is harmless only if nobody writes in between.
    /// - Returns: the store's revision.
    @discardableResult
    public func delete(_ key: [UInt8], isIdempotent: Bool = false) async throws(ClientError) -> UInt64 {
        var request = Strata_V1_DeleteRequest()
        request.key = Data(key)
        let message = request
        return try await once(isIdempotent: isIdempotent) { (address, options, session, sent) async throws -> UInt64 in
            var message = message
            if let session { message.session = session }
            let response: Strata_V1_DeleteResponse = try await self.pool.connection(to: address).once(
                message, Strata_V1_KeyValue.Method.Delete.descriptor, options: options, sent: sent)
            return response.revision
        }
    }

    /// Adds to the decimal number that a key holds; a missing key holds 0.
    /// - Returns: the new number.
    @discardableResult
    public func increment(_ key: [UInt8], by: Int64 = 1) async throws(ClientError) -> Int64 {
        var request = Strata_V1_IncrementRequest()
        request.key = Data(key)
        request.by = by
        let message = request
        return try await once(isIdempotent: false) { (address, options, session, sent) async throws -> Int64 in
            var message = message
            if let session { message.session = session }
            let response: Strata_V1_IncrementResponse = try await self.pool.connection(to: address).once(
                message, Strata_V1_KeyValue.Method.Increment.descriptor, options: options, sent: sent)
            return response.value
        }
    }

    /// Reads a key; nil when it does not exist.
    public func get(
        _ key: [UInt8], freshness: ReadFreshness = .linearizable
    ) async throws(ClientError) -> [UInt8]? {
        var request = Strata_V1_GetRequest()
        request.key = Data(key)
        request.consistency = freshness == .stale ? .stale : .linearizable
        let message = request
        return try await retrying(first: nil, until: newDeadline) { (address, options) async -> Attempt<[UInt8]?> in
            do {
                let response = try await self.keyValue(address).get(message, options: options)
                return .done(response.found ? Array(response.value) : nil)
            } catch {
                return self.judge(error, from: address, wasSent: true, isIdempotent: true)
            }
        }
    }
}
