// What a peer says must never stop a node, though its checksums hold: the node drops it, and the cluster goes on.
import KeyValue
import Raft
import SegmentedLog
import Storage
import StrataNode
import Synchronization
import Testing

@testable import Cluster

@Suite struct HostileMessageSimulationTests {
    private final class Count: Sendable {
        let value = Mutex(0)
    }

    /// Has a follower receive messages, as of its leader, and looks at what comes of it.
    private func deliver(
        seed: UInt64, _ make: (_ leader: NodeID, _ follower: SimulatedNode, _ status: GroupStatus) throws -> [[UInt8]],
        after: (_ follower: SimulatedNode) throws -> Void = { _ in }
    ) throws {
        let cluster = try SimulatedCluster(seed: seed)
        let world = cluster.world
        #expect(world.run(for: 5_000_000_000, until: { cluster.leader != nil && cluster.hasConverged }))
        let leader = try #require(cluster.leader)
        let follower = try #require(cluster.nodes.first { $0 !== leader })
        let status = try #require(follower.node?.statuses.status(of: .keyValue))
        for batch in try make(leader.member.id, follower, status) {
            follower.post(.received(from: leader.member.id, messages: batch), lane: .bulk)
            world.run(for: 200_000_000)
        }
        #expect(follower.node?.host.failure == nil, "seed \(seed)")
        try after(follower)
        let written = Count()
        leader.node?.keyValue.put(key: [1], value: [2]) { result in
            if case .success = result { written.value.withLock { $0 += 1 } }
        }
        #expect(world.run(for: 5_000_000_000, until: { written.value.withLock { $0 } == 1 && cluster.hasConverged }))
    }

    /// The same with one message about the key-value group.
    private func deliver(
        seed: UInt64, _ make: (_ message: inout Message, _ frames: inout FrameBatch, _ status: GroupStatus) -> Void
    ) throws {
        try deliver(
            seed: seed,
            { leader, follower, status in
                var message = Message(.append, from: leader, to: follower.member.id, term: status.term)
                message.index = status.lastIndex
                message.logTerm = status.term
                var frames = FrameBatch()
                make(&message, &frames, status)
                var writer = ByteWriter()
                PeerCodec.encode(message, group: .keyValue, frames: frames, into: &writer)
                return [writer.bytes]
            })
    }

    /// The core asks its host for the snapshot that it was just told of; the host had none and trapped.
    @Test(arguments: [UInt64(1), 2, 3])
    func aSnapshotToldByAPeerIsNoSnapshot(seed: UInt64) throws {
        try deliver(seed: seed) { message, _, status in
            message.kind = .snapshot
            message.index = status.lastIndex + 100
        }
    }

    /// The log refused them on the writer's thread, and the node took that for a failed disk.
    @Test(arguments: [UInt64(1), 2, 3])
    func framesAtOffsetsThatAreNotDueAreDropped(seed: UInt64) throws {
        try deliver(seed: seed) { message, frames, status in
            frames.append(
                kind: .noop, index: status.lastIndex + 1, term: status.term, baseOffset: 99, recordCount: 0, payload: []
            )
        }
    }

    /// Whoever forwards says how many commands it forwards; answers went by that number, to other clients' commands.
    @Test(arguments: [UInt64(1), 2])
    func whatAForwarderCountsDoesNotMoveOthersAnswers(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed)
        let world = cluster.world
        #expect(world.run(for: 5_000_000_000, until: { cluster.leader != nil && cluster.hasConverged }))
        let leader = try #require(cluster.leader)
        let follower = try #require(cluster.nodes.first { $0 !== leader })
        var batch = WriteBatch()
        try batch.put(key: [9], value: [9])
        let answers = Answers()
        for number in 1...UInt64(6) {
            var writer = ByteWriter()
            PeerCodec.encode(
                ForwardedProposal(
                    request: number, group: .keyValue, operations: number.isMultiple(of: 2) ? 0 : 1000,
                    payload: batch.bytes), into: &writer)
            leader.post(.received(from: follower.member.id, messages: writer.bytes), lane: .bulk)
            leader.node?.keyValue.write(.increment(key: [7], by: 1), session: nil) { answers.add($0) }
        }
        world.run(for: 2_000_000_000)
        let all = answers.all
        #expect(all == (1...6).map { Result<UInt64, RequestError>.success($0) }, "seed \(seed)")
    }

    private final class Answers: Sendable {
        private let content = Mutex<[Result<UInt64, RequestError>]>([])
        var all: [Result<UInt64, RequestError>] { content.withLock { $0 } }
        func add(_ answer: Result<UInt64, RequestError>) { content.withLock { $0.append(answer) } }
    }
}
