// The JSON of `/cluster`: what the route writes and what `Server cluster` reads.
import Cluster
import Raft

/// A node's picture of its cluster.
struct ClusterDocument: Codable, Sendable {
    struct MemberDocument: Codable, Sendable {
        var name: String
        var address: String
        /// As declared: voter or learner.
        var role: String
        /// Groups that it leads.
        var leads: Int
        /// Groups in which it votes, and in which it learns, which follow the declaration one after the other.
        var votesIn: Int
        var learnsIn: Int
    }
    struct GroupDocument: Codable, Sendable {
        var group: String
        var leader: String?
        var term: UInt64
        var voters: [String]
        var learners: [String]
        /// Between two configurations.
        var isJoint: Bool
    }

    struct OutageDocument: Codable, Sendable {
        var group: String
        /// What people call it: `events-3`.
        var name: String
        var reason: String
        /// The node tries again by itself.
        var isRetried: Bool
    }

    var cluster: String
    /// The controller's entry that declared the members.
    var version: UInt64
    var members: [MemberDocument]
    var groups: [GroupDocument]
    /// Nodes that asked this one to be added.
    var applicants: [String]
    /// Groups that are out of service on the node that answers; nil when there are none.
    var unavailableGroups: [OutageDocument]?

    init(_ overview: ClusterOverview, applicants: [Member]) {
        let membership = overview.membership
        func name(_ node: NodeID) -> String {
            membership.member(node)?.member.name
                ?? membership.removed.first { $0.id == node }.map { "\($0.name) (removed)" } ?? "\(node)"
        }
        cluster = overview.clusterID
        version = membership.version
        members = membership.members.map { member in
            let id = member.member.id
            return MemberDocument(
                name: member.member.name, address: member.member.address, role: member.role.description,
                leads: overview.groups.count { $0.leader == id },
                votesIn: overview.groups.count { $0.configuration.voters.contains(id) },
                learnsIn: overview.groups.count { $0.configuration.learners.contains(id) })
        }
        groups = overview.groups.map { group in
            GroupDocument(
                group: group.group.description, leader: group.leader.map(name), term: group.term,
                voters: group.configuration.voters.map(name).sorted(),
                learners: group.configuration.learners.map(name).sorted(), isJoint: group.configuration.isJoint)
        }
        self.applicants = applicants.map(\.name)
        unavailableGroups =
            overview.outages.isEmpty
            ? nil
            : overview.outages.map {
                OutageDocument(
                    group: $0.group.description, name: $0.name, reason: $0.reason, isRetried: $0.isRetried)
            }
    }
}

/// The bodies of requests.
struct MemberRequest: Codable, Sendable {
    var name: String
    /// voter when not given.
    var role: String?
}

struct TransferBody: Codable, Sendable {
    /// The member that is to lead.
    var to: String
    /// controller, keyvalue or partition-<number>; all groups when not given.
    var group: String?
}

/// The answer to a change.
struct ChangeAnswer: Codable, Sendable {
    var success: Bool
    var version: UInt64?
    var transfers: Int?
    var error: String?
}
