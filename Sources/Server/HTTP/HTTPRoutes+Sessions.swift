// Sessions and increments over HTTP:
//
//   POST       /session                           {"success":true,"client":N}
//   DELETE     /session    ?client=N              {"success":true}
//   PUT, POST  /increment  ?key=K[&by=N]          {"success":true,"value":N}
//
// A write belongs to a session when it names `client` and `sequence` (and `acknowledged`): in the query, or in the body
// of `/set` and `/delete`. Sent again with the same two it is applied once and answered as the first time.
// Docs/Sessions.md.
import Cluster
import Hummingbird
import KeyValue

/// The session's numbers as a body or a query has them.
struct SessionFields {
    var client: UInt64?
    var sequence: UInt64?
    var acknowledged: UInt64?

    func checked() throws(HTTPProblem) -> WriteSequence? {
        switch (client, sequence) {
        case (nil, nil) where acknowledged == nil: return nil
        case (let client?, let sequence?):
            return WriteSequence(client: client, sequence: sequence, acknowledged: acknowledged ?? 0)
        default: throw .badRequest("a write of a session names both 'client' and 'sequence'")
        }
    }
}

extension HTTPRoutes {
    func session(_ parameters: QueryParameters) throws(HTTPProblem) -> WriteSequence? {
        try SessionFields(
            client: try number("client", in: parameters), sequence: try number("sequence", in: parameters),
            acknowledged: try number("acknowledged", in: parameters)
        ).checked()
    }

    func openSession(_ request: Request) async throws -> Response {
        _ = try query(request, known: [])
        let client = try await pending.run(.write) { store.openSession(completion: $0) }.get()
        var body = JSONText()
        body.write("success", true)
        body.write("client", client)
        return .json(.ok, body.finished())
    }

    func closeSession(_ request: Request) async throws -> Response {
        guard let client = try number("client", in: try query(request, known: ["client"])) else {
            throw HTTPProblem.badRequest("the parameter 'client' is missing; write /session?client=17")
        }
        _ = try await pending.run(.write) { store.closeSession(client, completion: $0) }.get()
        var body = JSONText()
        body.write("success", true)
        return .json(.ok, body.finished())
    }
}
