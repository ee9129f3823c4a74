// One request message, one response message, and the knowledge whether the request got as far as the wire: what gRPC's
// unary call does not tell, and what decides whether a write may be retried.
internal import GRPCCore
internal import GRPCProtobuf
internal import SwiftProtobuf

extension GRPCClient {
    /// A unary call as the wire sees it.
    /// - Parameter sent: set before the first byte can leave.
    func once<Request: Message, Response: Message>(
        _ request: Request, _ method: MethodDescriptor, options: CallOptions, sent: SentFlag
    ) async throws -> Response {
        // gRPC runs the producer only when it has a stream on a connection: a call that fails before is certainly not
        // sent.
        let outgoing = StreamingClientRequest<Request> { writer in
            sent.set()
            try await writer.write(request)
        }
        return try await clientStreaming(
            request: outgoing, descriptor: method, serializer: ProtobufSerializer<Request>(),
            deserializer: ProtobufDeserializer<Response>(), options: options
        ) { response in
            try response.message
        }
    }
}
