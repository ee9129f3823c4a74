// The receiving side of the gRPC peer transport: lets peers in by their identity and hands their messages to the host.
// A stranger gets a refusal that names nobody, the log says why; no message of it reaches the host.
import Cluster
import GRPCCore
import Logging
import StrataProtocol
import SwiftProtobuf
import Synchronization

struct PeerService: Strata_V1_Peer.SimpleServiceProtocol {
    let directory: PeerDirectory
    let inbox: HostInbox
    let logger: Logger

    func handshake(
        request: Strata_V1_HandshakeRequest, context: ServerContext
    ) async throws -> Strata_V1_HandshakeResponse {
        let view = request.identity.view
        let level = inbox.featureLevel.load(ordering: .relaxed)
        let tooOld = request.identity.featureRefusal(level).map { PeerRefusalReason(why: $0, told: $0) }
        let refusal =
            request.identity.formRefusal ?? tooOld ?? request.identity.timingRefusal(directory.timing)
            ?? directory.hear(view, mayApply: true)
        if let refusal {
            logger.warning(
                "refused a peer", metadata: ["peer": "\(request.identity.address)", "why": "\(refusal.why)"])
        }
        if refusal == nil {
            let (member, level) = (view.member.id, request.identity.featureLevel)
            inbox.post(.run { $0.noteSupport(of: member, level: level) }, lane: .control)
        }
        let cluster = directory.cluster
        return .with {
            $0.identity = Strata_V1_PeerIdentity(
                directory, directory.disclosure(to: view, isRefused: refusal != nil))
            $0.refusal = refusal?.told ?? ""
            $0.removed =
                cluster?.hasRemoved(view.member) ?? false
                || refusal != nil && cluster != nil && view.clusterID == nil && request.identity.hasName
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
            logger.warning(
                "refused a peer's stream", metadata: ["peer": "\(view.member.name)", "why": "\(refusal.why)"])
            throw RPCError(code: .permissionDenied, message: refusal.told)
        }
        let peer = view.member.id
        let isReplaced = ReplacedFlag()
        let connection = directory.arrivals.begin(from: peer, lane: lane) { isReplaced.set() }
        defer { if connection.end() { inbox.post(.disconnected(peer), lane: .control) } }
        // One that was replaced and carries nothing ends with the server's own question for a sign of life.
        while let batch = try await iterator.next(), !isReplaced.isSet {
            connection.note()
            inbox.post(.received(from: peer, messages: Array(batch.messages)), lane: lane)
        }
        return Strata_V1_PeerSummary()
    }
}

/// Set when a newer stream of the same peer has taken a stream's place.
private final class ReplacedFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
}
