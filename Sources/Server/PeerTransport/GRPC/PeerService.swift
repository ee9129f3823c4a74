// The receiving side of the gRPC peer transport: lets peers in by their identity and hands their messages to the host. A
// stranger gets a refusal that says why and is logged; no message of it reaches the host.
import Cluster
import GRPCCore
import Logging
import StrataProtocol
import SwiftProtobuf

struct PeerService: Strata_V1_Peer.SimpleServiceProtocol {
    let directory: PeerDirectory
    let inbox: HostInbox
    let logger: Logger

    func handshake(
        request: Strata_V1_HandshakeRequest, context: ServerContext
    ) async throws -> Strata_V1_HandshakeResponse {
        let refusal = request.identity.formRefusal ?? directory.hear(request.identity.view, mayApply: true)
        if let refusal {
            logger.warning("refused a peer", metadata: ["peer": "\(request.identity.address)", "why": "\(refusal)"])
        }
        return .with {
            $0.identity = Strata_V1_PeerIdentity(directory)
            $0.refusal = refusal ?? ""
            $0.removed = directory.cluster?.hasRemoved(request.identity.view.member) ?? false
        }
    }

    func requestVote(
        request: RPCAsyncSequence<Strata_V1_PeerBatch, any Error>, context: ServerContext
    ) async throws -> Strata_V1_PeerSummary {
        try await receive(request, lane: .control)
    }

    func appendEntries(
        request: RPCAsyncSequence<Strata_V1_PeerBatch, any Error>, context: ServerContext
    ) async throws -> Strata_V1_PeerSummary {
        try await receive(request, lane: .bulk)
    }

    func installSnapshot(
        request: RPCAsyncSequence<Strata_V1_PeerBatch, any Error>, context: ServerContext
    ) async throws -> Strata_V1_PeerSummary {
        try await receive(request, lane: .snapshot)
    }

    private func receive(
        _ batches: RPCAsyncSequence<Strata_V1_PeerBatch, any Error>, lane: PeerLane
    ) async throws -> Strata_V1_PeerSummary {
        var iterator = batches.makeAsyncIterator()
        guard let first = try await iterator.next(), first.hasIdentity else {
            throw RPCError(code: .invalidArgument, message: "the first message of a peer stream says who opened it")
        }
        let view = first.identity.view
        if let refusal = first.identity.formRefusal ?? directory.hear(view) {
            logger.warning("refused a peer's stream", metadata: ["peer": "\(view.member.name)", "why": "\(refusal)"])
            throw RPCError(code: .permissionDenied, message: refusal)
        }
        let peer = view.member.id
        defer { inbox.post(.disconnected(peer), lane: .control) }
        while let batch = try await iterator.next() {
            inbox.post(.received(from: peer, messages: Array(batch.messages)), lane: lane)
        }
        return Strata_V1_PeerSummary()
    }
}
