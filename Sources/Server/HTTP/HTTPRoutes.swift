// What each path of the HTTP front end does:
//
//   POST      /set      {"key","value"}        {"success":true,"index":N}
//   GET       /get      ?key=K                 {"key","value","found"}; 404 when there is no such key
//   any       /put      ?key=K&val=V           {"success":true,"index":N}      (GET, PUT and POST)
//   any       /delete   {"key"} or ?key=K      {"success":true,"index":N}      (POST and DELETE)
//   any       /session, /increment             see HTTPRoutes+Sessions
//   GET       /status  /health  /metrics
//   GET       /hash     ?group=kv[&index=N]    {"group","applied","hash",...}; see HTTPRoutes+Hash
//   /cluster and below: HTTPRoutes+Cluster.swift
//
// `/get` takes `consistency=lease` or `stale` too, the latter with `maxStaleness=<ms>`. A value that isn't UTF-8 is answered as `valueBase64` in place of `value`, and
// `/set` takes `valueBase64` likewise. It must never answer success before the store has.
import Cluster
import Foundation
import HTTPTypes
import Hummingbird
import KeyValue
import NIOCore
import StrataNode

/// Answers the requests; stateless but for what it was given.
struct HTTPRoutes: HTTPResponder {
    typealias Context = BasicRequestContext

    /// A value may come escaped or as base64, which makes it longer.
    static let bodyBytesMax = KeyValueLimits.valueBytesMax / 2 * 3 + KeyValueLimits.keyBytesMax

    let store: any KeyValueService
    let node: any NodeStatusService
    let hashes: any StateHashService
    let cluster: (any ClusterAdministration & ClusterApplicants)?
    let metrics: @Sendable () -> String
    let pending: PendingRequests

    /// Decoding changes nothing in a decoder, so one serves all requests.
    private let decoder = JSONDecoder()

    init(
        store: any KeyValueService, node: any NodeStatusService, hashes: any StateHashService,
        cluster: (any ClusterAdministration & ClusterApplicants)? = nil, metrics: @escaping @Sendable () -> String,
        pending: PendingRequests
    ) {
        self.store = store
        self.node = node
        self.hashes = hashes
        self.cluster = cluster
        self.metrics = metrics
        self.pending = pending
    }

    func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
        do {
            return try await route(request)
        } catch let problem as HTTPProblem {
            return problem.response
        } catch let error as RequestError {
            return HTTPProblem(error).response
        }
    }

    private func route(_ request: Request) async throws -> Response {
        switch (request.uri.path, request.method) {
        case ("/get", .get): try await get(request)
        case ("/set", .post): try await set(request)
        case ("/put", .get), ("/put", .put), ("/put", .post): try await put(request)
        case ("/delete", .post), ("/delete", .delete): try await delete(request)
        case ("/increment", .put), ("/increment", .post): try await increment(request)
        case ("/session", .post): try await openSession()
        case ("/session", .delete): try await closeSession(request)
        case ("/status", .get): status()
        case ("/health", .get): health()
        case ("/metrics", .get): exposition()
        case ("/hash", .get): try await stateHash(request)
        case ("/get", _), ("/status", _), ("/health", _), ("/metrics", _), ("/hash", _):
            throw wrongMethod(request, "GET")
        case ("/set", _): throw wrongMethod(request, "POST")
        case ("/put", _): throw wrongMethod(request, "GET, PUT, POST")
        case ("/increment", _): throw wrongMethod(request, "PUT, POST")
        case ("/delete", _), ("/session", _): throw wrongMethod(request, "POST, DELETE")
        case (let path, _) where path.hasPrefix("/cluster"): try await clusterRoute(request)
        default:
            throw HTTPProblem(
                status: .notFound,
                sentence: "there is nothing at this path; try /get, /set, /put, /delete, /increment, /session, "
                    + "/status, /health, /metrics or /hash")
        }
    }

    func wrongMethod(_ request: Request, _ allowed: String) -> HTTPProblem {
        HTTPProblem(
            status: .methodNotAllowed, sentence: "\(request.uri.path) does not take \(request.method); use \(allowed)",
            headers: [.allow: allowed])
    }
}

// MARK: - Keys and values

extension HTTPRoutes {
    private struct SetBody: Decodable {
        var key: String
        var value: String?
        var valueBase64: String?
        var client: UInt64?
        var sequence: UInt64?
        var acknowledged: UInt64?
    }

    private struct KeyBody: Decodable {
        var key: String
        var client: UInt64?
        var sequence: UInt64?
        var acknowledged: UInt64?
    }

    private func staleness(in parameters: QueryParameters) throws -> ReadConsistency {
        guard let text = parameters.first("maxStaleness").map({ String(decoding: $0, as: UTF8.self) }) else {
            return .stale
        }
        guard let milliseconds = UInt32(text), milliseconds > 0 else {
            throw HTTPProblem.badRequest("'\(text)' is no maxStaleness; give milliseconds, such as 500")
        }
        return .bounded(milliseconds: milliseconds)
    }

    private func get(_ request: Request) async throws -> Response {
        let parameters = try query(request)
        let key = try required("key", in: parameters, example: "/get?key=name")
        let consistency: ReadConsistency
        switch parameters.first("consistency").map({ String(decoding: $0, as: UTF8.self) }) {
        case nil, "linearizable"?: consistency = .linearizable
        case "lease"?: consistency = .lease
        case "stale"?: consistency = try staleness(in: parameters)
        case let other?:
            throw HTTPProblem.badRequest("'\(other)' is no consistency; use linearizable, lease or stale")
        }
        let value = try await pending.run(.read) { store.get(key: key, consistency: consistency, completion: $0) }.get()
        var body = JSONText(capacity: key.count + (value?.count ?? 0) + 64)
        body.write("key", bytes: key)
        body.write("value", bytes: value ?? [])
        body.write("found", value != nil)
        return .json(value == nil ? .notFound : .ok, body.finished())
    }

    private func set(_ request: Request) async throws -> Response {
        let example = #"{"key":"name","value":"x"}"#
        let body: SetBody = try await json(request, example: example)
        let value: [UInt8]
        switch (body.value, body.valueBase64) {
        case (let text?, nil): value = Array(text.utf8)
        case (nil, let encoded?):
            guard let data = Data(base64Encoded: encoded) else {
                throw HTTPProblem.badRequest("'valueBase64' is not base64")
            }
            value = Array(data)
        case (nil, nil): throw HTTPProblem.badRequest("the field 'value' is missing; send \(example)")
        case (_?, _?): throw HTTPProblem.badRequest("give 'value' or 'valueBase64', not both")
        }
        let session = try SessionFields(
            client: body.client, sequence: body.sequence, acknowledged: body.acknowledged
        ).checked()
        return try await write(.put(key: Array(body.key.utf8), value: value), session)
    }

    private func put(_ request: Request) async throws -> Response {
        let parameters = try query(request)
        let example = "/put?key=hello&val=world"
        let key = try required("key", in: parameters, example: example)
        let value = try required("val", in: parameters, example: example)
        return try await write(.put(key: key, value: value), try session(parameters))
    }

    private func delete(_ request: Request) async throws -> Response {
        let parameters = try query(request)
        if let key = parameters.first("key") { return try await write(.delete(key: key), try session(parameters)) }
        let body: KeyBody = try await json(request, example: #"{"key":"name"}"#)
        let session = try SessionFields(
            client: body.client, sequence: body.sequence, acknowledged: body.acknowledged
        ).checked()
        return try await write(.delete(key: Array(body.key.utf8)), session)
    }

    private func write(_ write: KeyValueWrite, _ session: WriteSequence?) async throws -> Response {
        success(try await pending.run(.write) { store.write(write, session: session, completion: $0) }.get())
    }

    private func success(_ index: UInt64) -> Response {
        var body = JSONText()
        body.write("success", true)
        body.write("index", index)
        return .json(.ok, body.finished())
    }
}

// MARK: - The node

extension HTTPRoutes {
    private func status() -> Response {
        let status = node.status()
        var body = JSONText()
        body.write("nodeId", status.nodeID)
        body.write("state", status.state)
        body.write("term", status.term)
        body.write("commitIndex", status.commitIndex)
        body.write("logLength", status.logLength)
        body.write("leader", status.leader?.name ?? "")
        body.write("isLeader", status.isLeader)
        if !status.outages.isEmpty {
            body.write("unavailableGroups", status.outages.map { Self.json($0) })
        }
        return .json(.ok, body.finished())
    }

    private static func json(_ outage: GroupOutage) -> JSONText {
        var element = JSONText()
        element.write("group", outage.group.description)
        element.write("name", outage.name)
        element.write("reason", outage.reason)
        element.write("isRetried", outage.isRetried)
        return element
    }

    private func health() -> Response {
        let status = node.status()
        var body = JSONText()
        body.write("status", status.isHealthy ? "ok" : "unavailable")
        if !status.isHealthy { body.write("error", status.problem ?? "the node knows no leader; try again") }
        return .json(status.isHealthy ? .ok : .serviceUnavailable, body.finished())
    }

    private func exposition() -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: .init(byteBuffer: ByteBuffer(string: metrics())))
    }
}

// MARK: - Reading requests

extension HTTPRoutes {
    func query(_ request: Request) throws(HTTPProblem) -> QueryParameters {
        guard let parameters = QueryParameters(request.uri.query) else {
            throw .badRequest("the query has a broken percent escape; write % as %25")
        }
        return parameters
    }

    func required(
        _ name: String, in parameters: QueryParameters, example: String
    ) throws(HTTPProblem) -> [UInt8] {
        guard let value = parameters.first(name) else {
            throw .badRequest("the parameter '\(name)' is missing; write \(example)")
        }
        return value
    }

    private static let numbers = ["client", "sequence", "acknowledged"]

    /// Reads a JSON body; the sentence of a failure names the field that is wrong.
    func json<Value: Decodable>(_ request: Request, example: String) async throws -> Value {
        let tooLong = HTTPProblem(
            status: .contentTooLarge,
            sentence: "the body is longer than \(Self.bodyBytesMax) bytes; a value has at most "
                + "\(KeyValueLimits.valueBytesMax)")
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > Self.bodyBytesMax {
            throw tooLong
        }
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: Self.bodyBytesMax)
        } catch is NIOTooManyBytesError {
            throw tooLong
        }
        do {
            return try decoder.decode(Value.self, from: Data(body.readableBytesView))
        } catch DecodingError.keyNotFound(let field, _) {
            throw HTTPProblem.badRequest("the field '\(field.stringValue)' is missing; send \(example)")
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
            let field = context.codingPath.last?.stringValue
            throw HTTPProblem.badRequest(
                field.map {
                    "the field '\($0)' must be \(Self.numbers.contains($0) ? "a number" : "a string"); send \(example)"
                }
                    ?? "the body must be a JSON object; send \(example)")
        } catch is DecodingError {
            throw HTTPProblem.badRequest("the body is not JSON; send \(example)")
        }
    }
}
