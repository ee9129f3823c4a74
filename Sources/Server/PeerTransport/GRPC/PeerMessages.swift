// Between the engine's idea of a handshake and its protobuf form.
import Cluster
import Raft
import StrataProtocol
import SwiftProtobuf

/// Version of the peer protocol; nodes of different versions refuse each other.
let peerProtocolVersion: UInt32 = 2

extension Strata_V1_PeerIdentity {
    /// - Parameter disclosure: how much the other side may hear; of `nothing` the protocol's version is left.
    init(_ directory: PeerDirectory, _ disclosure: PeerDisclosure) {
        self.init()
        protocolVersion = peerProtocolVersion
        guard let view = directory.view(disclosure) else { return }
        featureLevel = FeatureLevel.supported
        tcpPort = UInt32(directory.tcpPort)
        nodeID = view.member.name
        incarnation = view.member.incarnation
        address = view.member.address
        clusterID = view.clusterID ?? ""
        raftID = view.member.id.rawValue
        joining = view.isJoining
        members = view.members.map { Strata_V1_PeerMember($0) }
        founders = view.founders.map { Strata_V1_PeerMember($0) }
        expectedMembers = UInt32(view.expected)
        heartbeatMilliseconds = UInt32(clamping: directory.timing.heartbeatMilliseconds)
        electionMilliseconds = UInt32(clamping: directory.timing.electionMilliseconds)
    }

    var view: PeerView {
        var view = PeerView(
            member: Member(id: NodeID(raftID), name: nodeID, incarnation: incarnation, address: address),
            clusterID: clusterID.isEmpty ? nil : clusterID, members: members.map(\.member),
            expected: Int(expectedMembers), founders: founders.map(\.member))
        view.isJoining = joining
        return view
    }

    /// The sender speaks this node's protocol.
    var versionRefusal: String? {
        protocolVersion == peerProtocolVersion
            ? nil
            : "it speaks version \(protocolVersion) of the peer protocol, this node version \(peerProtocolVersion)"
    }

    /// The cluster uses commands that the sender can't read.
    func featureRefusal(_ level: UInt32) -> String? {
        featureLevel >= level
            ? nil
            : "it can read commands of feature level \(featureLevel), the cluster uses those of level \(level); upgrade it"
    }

    /// The sender says who it is.
    var hasName: Bool { !nodeID.isEmpty && !incarnation.isEmpty && raftID != 0 }

    /// Why this can't be a peer whatever the cluster says.
    var formRefusal: PeerRefusalReason? {
        (versionRefusal ?? (hasName ? boundsRefusal : "it does not say who it is")).map {
            PeerRefusalReason(why: $0, told: $0)
        }
    }

    /// What it says is more, or contradicts itself more, than any peer's words do.
    var boundsRefusal: String? {
        if tcpPort > UInt32(UInt16.max) {
            return "it names port \(tcpPort) for its TCP transport, and there is none above 65535"
        }
        guard max(members.count, founders.count) <= PeerLimits.handshakeMembersMax else {
            return "it names more than \(PeerLimits.handshakeMembersMax) members"
        }
        let texts = [nodeID, incarnation, address, clusterID] + (members + founders).flatMap(\.texts)
        guard texts.allSatisfy({ $0.utf8.count <= PeerLimits.handshakeTextBytesMax }) else {
            return "it names something with more than \(PeerLimits.handshakeTextBytesMax) bytes"
        }
        for list in [members, founders] {
            guard !list.contains(where: { $0.raftID == 0 }), Set(list.map(\.raftID)).count == list.count,
                Set(list.map(\.nodeID)).count == list.count
            else { return "it names a member twice, or one without a number" }
        }
        return nil
    }
}

extension Strata_V1_PeerMember {
    fileprivate var texts: [String] { [nodeID, incarnation, address] }

    init(_ member: Member) {
        self.init()
        raftID = member.id.rawValue
        nodeID = member.name
        incarnation = member.incarnation
        address = member.address
    }

    var member: Member {
        Member(id: NodeID(raftID), name: nodeID, incarnation: incarnation, address: address)
    }
}
