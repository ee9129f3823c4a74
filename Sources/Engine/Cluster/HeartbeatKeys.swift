// Which heartbeats an encoded batch holds, so that a queue keeps the newest of each only: a peer that stood still must
// not find hundreds of them, each of which it answers.

import Raft

/// What makes one heartbeat stand for an earlier one: the same kind of message for the same group.
public struct HeartbeatKey: Hashable, Sendable {
    private var kind: UInt8
    private var group: UInt64

    private static let beat = HeartbeatKey(kind: 0, group: 0)

    /// The heartbeats of a batch that holds nothing else, answers to them included; nil for every other batch.
    ///
    /// - Complexity: O(messages), ends at the first one that is something else.
    public static func all(in batch: [UInt8]) -> Set<HeartbeatKey>? {
        var reader = ByteReader(batch[...])
        var keys: Set<HeartbeatKey> = []
        while !reader.isAtEnd {
            guard let body = reader.readCounted() else { return nil }
            if PeerCodec.isBeat(body) {
                keys.insert(.beat)
            } else {
                guard let (kind, group) = PeerCodec.heartbeat(body) else { return nil }
                keys.insert(HeartbeatKey(kind: kind.rawValue, group: group.rawValue))
            }
        }
        return keys
    }
}
