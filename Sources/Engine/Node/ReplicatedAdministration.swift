// The administration of one node: turns requests into commands of the controller and questions to the host. Holds no
// state.
import Broker
public import Cluster
import Raft

public final class ReplicatedAdministration: ClusterAdministration {
    private let inbox: HostInbox
    private let statuses: StatusTable
    private let members: MembershipTable
    private let clusterID: String

    init(inbox: HostInbox, statuses: StatusTable, members: MembershipTable, clusterID: String) {
        self.inbox = inbox
        self.statuses = statuses
        self.members = members
        self.clusterID = clusterID
    }

    public func overview(completion: @escaping @Sendable (Result<ClusterOverview, RequestError>) -> Void) {
        let (clusterID, members) = (clusterID, members)
        ask(completion) { host in
            ClusterOverview(
                clusterID: clusterID, membership: members.current,
                groups: host.groupMemberships.map {
                    GroupOverview(
                        group: $0.group, leader: $0.leader, term: $0.term, configuration: $0.configuration)
                }, outages: host.allOutages)
        }
    }

    public func change(
        _ command: MembershipCommand, completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        inbox.post(
            .propose(
                .controller,
                Proposal(payload: ControllerCommand.membership(command).encoded, completion: completion)))
    }

    public func transfer(
        group: GroupID?, to name: String, completion: @escaping @Sendable (Result<Int, RequestError>) -> Void
    ) {
        guard let target = members.current.member(named: name) else {
            let names = members.current.members.map(\.member.name).joined(separator: ", ")
            return completion(.failure(.invalid(.membership, "\(name) is no member; the members are \(names)")))
        }
        guard target.role == .voter else {
            return completion(.failure(.invalid(.membership, "\(name) is a learner and can't lead; promote it first")))
        }
        if let group, statuses.status(of: group) == nil {
            return completion(.failure(.invalid(.membership, "there is no group \(group) on this node")))
        }
        let node = target.member.id
        ask(completion) { host in host.requestTransfer(of: group, to: node) }
    }

    /// Asks the host on its own thread.
    private func ask<Value: Sendable>(
        _ completion: @escaping @Sendable (Result<Value, RequestError>) -> Void,
        _ question: @escaping @Sendable (ClusterHost) -> Value
    ) {
        inbox.post(.run { host in completion(.success(question(host))) }, lane: .control)
    }
}
