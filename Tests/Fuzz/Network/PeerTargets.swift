// The peer protocol without a node behind it: batches, pieces of snapshots, and what else the same codec reads, from
// disk too.
import FileIO
import Raft
import SegmentedLog
import SimulatedIO

@testable import Cluster

func peerTargets() -> [FuzzTarget] {
    [
        FuzzTarget(name: "peer-batch") { mutator in
            var bytes = mutator.pick(PeerCorpus.batches)
            mutator.reshape(&bytes, donor: mutator.pick(PeerCorpus.batches))
            if mutator.chance(1, in: 2) { sealMessages(&bytes) }
            guard let messages = PeerCodec.decode(bytes) else { throw Refused() }
            for message in messages { check(message) }
        },
        FuzzTarget(name: "snapshot-messages") { mutator in
            let content = mutator.pick(PeerCorpus.snapshotContents)
            var bytes = PeerCorpus.encoded(content, group: .keyValue, transfer: mutator.next())
            mutator.damage(&bytes, in: 4..<bytes.count)
            if mutator.chance(1, in: 3) { mutator.reshape(&bytes, donor: bytes) }
            sealMessages(&bytes)
            let pool = PiecePool()
            let piece = ReceivedPiece(batch: bytes, from: pool)
            guard let messages = PeerCodec.decode(bytes) else {
                // What a transport takes for a piece is one to the codec too.
                precondition(piece == nil, "a piece that is no message")
                throw Refused()
            }
            for case .snapshot(let message) in messages { use(message) }
        },
        FuzzTarget(name: "snapshot-manifest") { mutator in
            var bytes = PeerCorpus.manifest.fileBytes
            mutator.reshape(&bytes, donor: bytes)
            sealTail(&bytes)
            guard let manifest = SnapshotManifest(fileBytes: bytes) else { throw Refused() }
            precondition(manifest.fileBytes == bytes, "a manifest that is written differently than it was read")
        },
        FuzzTarget(name: "configuration") { mutator in
            var bytes = ConfigurationCodec.encode(PeerCorpus.membership)
            mutator.reshape(&bytes, donor: bytes)
            var membership = ConfigurationCodec.decodeMembership(bytes[...]) ?? PeerCorpus.membership
            precondition(ConfigurationCodec.decodeMembership(ConfigurationCodec.encode(membership)[...]) == membership)
            var isAnyRead = false
            for _ in 0..<4 {
                var change = mutator.pick(PeerCorpus.changes)
                mutator.reshape(&change, donor: mutator.pick(PeerCorpus.changes))
                guard let decoded = ConfigurationCodec.decodeChange(change[...]) else { continue }
                isAnyRead = true
                membership = membership.applying(decoded)
                _ = membership.configuration.members
            }
            if !isAnyRead { throw Refused() }
        },
        FuzzTarget(name: "membership-file") { mutator in
            let system = SimulatedFileSystem(seed: 1)
            try system.createDirectory("data")
            let file = MembershipFile(path: "data/g.members", fileSystem: system)
            try file.store(index: 7, membership: PeerCorpus.membership)
            var bytes = try system.readFile("data/g.members") ?? []
            mutator.reshape(&bytes, donor: bytes)
            if mutator.chance(4, in: 5) { sealTail(&bytes) }
            try system.replaceFile("data/g.members", with: bytes)
            guard try file.load() != nil else { throw Refused() }
        },
    ]
}

/// Makes the lengths of a batch's messages right, so that the damage is inside them.
private func sealMessages(_ bytes: inout [UInt8]) {
    guard bytes.count >= 4 else { return }
    bytes.put(UInt32(bytes.count - 4), at: 0)
}

private func sealTail(_ bytes: inout [UInt8]) {
    guard bytes.count > 4 else { return }
    bytes.put(crc(bytes[..<(bytes.count - 4)]), at: bytes.count - 4)
}

/// What the code behind the codec counts on.
private func check(_ message: PeerMessage) {
    switch message {
    case .raft(let group, let message, let frames):
        precondition(message.entries.count == frames.headers.count)
        precondition(max(message.term, message.index, message.logTerm, message.commit) <= PeerCodecLimits.positionMax)
        if let first = frames.headers.first, let last = frames.headers.last {
            precondition(first.index == message.index + 1 && last.term <= message.term)
            _ = last.endOffset
        }
        var writer = ByteWriter()
        PeerCodec.encode(message, group: group, frames: frames, into: &writer)
        guard case .raft(let group2, let message2, let frames2)? = PeerCodec.decode(writer.bytes)?.first else {
            preconditionFailure("a message that is read once is not read again")
        }
        precondition(group2 == group && message2 == message && frames2.bytes == frames.bytes)
    case .snapshot(let message): use(message)
    default: break
    }
}

private func use(_ message: SnapshotMessage) {
    switch message.content {
    case .offer(_, let manifest):
        _ = manifest.byteCount
        precondition(SnapshotManifest(fileBytes: manifest.fileBytes) == manifest)
    case .want(let files): precondition(Set(files.map(\.file)).count == files.count)
    case .chunk(let chunk): _ = chunk.offset + UInt64(chunk.bytes.count)
    default: break
    }
}
