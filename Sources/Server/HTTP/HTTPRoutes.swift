// What each path of the HTTP front end does:
//
//   POST      /set      {"key","value"}        {"success":true,"index":N}
//   any       /get      ?key=K or {"key"}      {"key","value","found"}; 404 when there is no such key (GET and POST)
//   any       /put      ?key=K&val=V           {"success":true,"index":N}      (GET, PUT and POST)
//   any       /delete   {"key"} or ?key=K      {"success":true,"index":N}      (POST and DELETE)
//   any       /session, /increment             see HTTPRoutes+Sessions
//   GET       /status  /health  /metrics
//   GET       /hash     ?group=kv[&index=N]    {"group","applied","hash",...}; see HTTPRoutes+Hash
//   /cluster and below: HTTPRoutes+Cluster.swift
//
// HEAD works where GET does and changes nothing, so not for `/put`. What keys and values look like:
// HTTPRoutes+Keys.swift. It must never answer success before the store has, and never skip a field or parameter that it
// does not know.
import Cluster
import Foundation
import HTTPTypes
import Hummingbird
import KeyValue
import NIOCore
import StrataNode

/// Answers the requests; stateless but for what it was given.
struct HTTPRoutes: HTTPResponder {
    typealias Context = HTTPRequestContext

    static let bodyBytesMax = HTTPBody.bytesMax

    let store: any KeyValueService
    let node: any NodeStatusService
    let hashes: any StateHashService
    let cluster: (any ClusterAdministration & ClusterApplicants)?
    let metrics: @Sendable () -> String
    let pending: PendingRequests

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

    func respond(to request: Request, context: HTTPRequestContext) async throws -> Response {
        do {
            return try await route(request, context)
        } catch let problem as HTTPProblem {
            return problem.response
        } catch let error as RequestError {
            return HTTPProblem(error).response
        }
    }

    private func route(_ request: Request, _ context: HTTPRequestContext) async throws -> Response {
        // The connection's handler leaves out the body of an answer to HEAD.
        let method = request.method == .head && request.uri.path != "/put" ? .get : request.method
        switch (request.uri.path, method) {
        case ("/get", .get), ("/get", .post): return try await get(request, context)
        case ("/set", .post): return try await set(request, context)
        case ("/put", .get), ("/put", .put), ("/put", .post): return try await put(request)
        case ("/delete", .post), ("/delete", .delete): return try await delete(request, context)
        case ("/increment", .put), ("/increment", .post): return try await increment(request, context)
        case ("/session", .post): return try await openSession(request)
        case ("/session", .delete): return try await closeSession(request)
        case ("/status", .get): return status()
        case ("/health", .get): return health()
        case ("/metrics", .get): return exposition()
        case ("/hash", .get): return try await stateHash(request)
        case ("/status", _), ("/health", _), ("/metrics", _), ("/hash", _):
            throw wrongMethod(request, "GET, HEAD")
        case ("/get", _): throw wrongMethod(request, "GET, HEAD, POST")
        case ("/set", _): throw wrongMethod(request, "POST")
        case ("/put", _): throw wrongMethod(request, "GET, PUT, POST")
        case ("/increment", _): throw wrongMethod(request, "PUT, POST")
        case ("/delete", _), ("/session", _): throw wrongMethod(request, "POST, DELETE")
        case (let path, _) where path == "/cluster" || path.hasPrefix("/cluster/"):
            return try await clusterRoute(request, method, context)
        default:
            throw HTTPProblem(
                status: .notFound,
                sentence: "there is nothing at this path; try /get, /set, /put, /delete, /increment, /session, "
                    + "/status, /health, /metrics, /hash or /cluster")
        }
    }

    func wrongMethod(_ request: Request, _ allowed: String) -> HTTPProblem {
        HTTPProblem(
            status: .methodNotAllowed, sentence: "\(request.uri.path) does not take \(request.method); use \(allowed)",
            headers: [.allow: allowed])
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
    /// The parameters of a query. One that the route does not know, or that stands twice, is refused.
    /// - Parameter known: those of the route.
    func query(_ request: Request, known: [String]) throws(HTTPProblem) -> QueryParameters {
        guard let parameters = QueryParameters(request.uri.query) else {
            throw .badRequest("the query has a broken percent escape; write % as %25")
        }
        let names = parameters.names
        for (place, name) in names.enumerated() {
            guard known.contains(name) else {
                throw .badRequest("the parameter '\(name)' is not known here; \(NearestName.hint(name, in: known))")
            }
            guard !names[..<place].contains(name) else {
                throw .badRequest("the parameter '\(name)' stands twice; give it once")
            }
        }
        return parameters
    }

    /// A parameter that is a word; nil when it isn't there.
    func word(_ name: String, in parameters: QueryParameters) -> String? {
        parameters.first(name).map { String(decoding: $0, as: UTF8.self) }
    }

    /// A parameter that is a number; nil when it isn't there.
    func number(_ name: String, in parameters: QueryParameters) throws(HTTPProblem) -> UInt64? {
        guard let text = word(name, in: parameters) else { return nil }
        guard let number = UInt64(text) else {
            throw .badRequest("the parameter '\(name)' must be a number, not '\(text)'")
        }
        return number
    }
}
