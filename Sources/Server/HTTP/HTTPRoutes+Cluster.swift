// The members of the cluster over HTTP:
//
//   GET     /cluster                                   who they are, and who leads what
//   POST    /cluster/members        {"name","role"?}   adds a node that waits with --join, or changes a member's role
//   DELETE  /cluster/members/NAME                      removes a member
//   POST    /cluster/transfer       {"to","group"?}    sends leadership to a member
//
// Any node answers. A change is answered when it is declared; the groups follow in the background.
import Cluster
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Knows which nodes have asked to be added.
protocol ClusterApplicants: Sendable {
    var applicants: [Member] { get }
}

extension HTTPRoutes {
    private static let memberPrefix = "/cluster/members/"

    func clusterRoute(
        _ request: Request, _ method: HTTPRequest.Method, _ context: HTTPRequestContext
    ) async throws -> Response {
        guard let cluster else {
            throw HTTPProblem(status: .notFound, sentence: "this server has no cluster to tell of")
        }
        switch (request.uri.path, method) {
        case ("/cluster", .get):
            let overview = try await pending.run(.read) { cluster.overview(completion: $0) }.get()
            return try document(ClusterDocument(overview, applicants: cluster.applicants))
        case ("/cluster/members", .post):
            let body = try await HTTPBody(
                of: request, context, known: ["name", "role"], example: #"{"name":"node4","role":"voter"}"#)
            return try await declare(
                MemberRequest(name: try body.required("name"), role: try body.word("role")), cluster)
        case (let path, .delete) where path.hasPrefix(Self.memberPrefix):
            let name = String(path.dropFirst(Self.memberPrefix.count))
            return try await change(.remove(name: name), cluster)
        case ("/cluster/transfer", .post):
            let body = try await HTTPBody(
                of: request, context, known: ["to", "group"], example: #"{"to":"node2","group":"keyvalue"}"#)
            let target = try body.required("to")
            let group = try body.word("group").map { text in
                guard let group = GroupID(parsing: text) else {
                    throw HTTPProblem.badRequest(
                        "'\(text)' is no group; write controller, keyvalue or partition-16, or leave it out for all")
                }
                return group
            }
            let count = try await pending.run(.read) { cluster.transfer(group: group, to: target, completion: $0) }
                .get()
            return try document(ChangeAnswer(success: true, transfers: count))
        case ("/cluster", _): throw wrongMethod(request, "GET, HEAD")
        case ("/cluster/members", _), ("/cluster/transfer", _): throw wrongMethod(request, "POST")
        case (let path, _) where path.hasPrefix(Self.memberPrefix): throw wrongMethod(request, "DELETE")
        default:
            throw HTTPProblem(
                status: .notFound,
                sentence: "there is nothing at this path; try /cluster, /cluster/members or /cluster/transfer")
        }
    }

    private func declare(
        _ body: MemberRequest, _ cluster: any ClusterAdministration & ClusterApplicants
    ) async throws -> Response {
        guard let role = MemberRole(body.role ?? "voter") else {
            throw HTTPProblem.badRequest("'\(body.role ?? "")' is no role; write voter or learner")
        }
        let overview = try await pending.run(.read) { cluster.overview(completion: $0) }.get()
        if overview.membership.member(named: body.name) != nil {
            return try await change(.setRole(name: body.name, role), cluster)
        }
        guard let applicant = cluster.applicants.first(where: { $0.name == body.name }) else {
            throw HTTPProblem(
                status: .conflict,
                sentence:
                    "\(body.name) has not asked to be added; start it with --join and --peers naming this node first")
        }
        return try await change(.add(applicant, role), cluster)
    }

    private func change(
        _ command: MembershipCommand, _ cluster: any ClusterAdministration
    ) async throws -> Response {
        let version = try await pending.run(.write) { cluster.change(command, completion: $0) }.get()
        return try document(ChangeAnswer(success: true, version: version))
    }

    private func document(_ value: some Encodable) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return .json(.ok, ByteBuffer(bytes: try encoder.encode(value)))
    }
}
