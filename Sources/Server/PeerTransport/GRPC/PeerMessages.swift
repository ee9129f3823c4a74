// Between the engine's idea of a handshake and its protobuf form.
import Cluster
import StrataProtocol
import SwiftProtobuf

/// Version of the peer protocol; nodes of different versions refuse each other.
let peerProtocolVersion: UInt32 = 1

extension Strata_V1_PeerIdentity {
    init(_ directory: PeerDirectory) {
        self.init()
        let view = directory.view
        tcpPort = UInt32(directory.tcpPort)
        nodeID = view.member.name
        incarnation = view.member.incarnation
        address = view.member.address
        clusterID = view.clusterID ?? ""
        members = view.members.map { member in
            .with {
                $0.nodeID = member.name
                $0.incarnation = member.incarnation
                $0.address = member.address
            }
        }
        expectedMembers = UInt32(view.expected)
        protocolVersion = peerProtocolVersion
    }

    var view: PeerView {
        PeerView(
            member: Member(name: nodeID, incarnation: incarnation, address: address),
            clusterID: clusterID.isEmpty ? nil : clusterID,
            members: members.map { Member(name: $0.nodeID, incarnation: $0.incarnation, address: $0.address) },
            expected: Int(expectedMembers))
    }

    /// Why this can't be a peer whatever the cluster says.
    var formRefusal: String? {
        if protocolVersion != peerProtocolVersion {
            return "it speaks version \(protocolVersion) of the peer protocol, this node version \(peerProtocolVersion)"
        }
        return nodeID.isEmpty || incarnation.isEmpty ? "it does not say who it is" : nil
    }
}
