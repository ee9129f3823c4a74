// Who leads which partition, as the servers said last. A guess that is corrected by the answers: a wrong one costs a
// round trip, never a wrong result.
internal import Synchronization

final class PartitionRouting: Sendable {
    private struct Key: Hashable {
        var topic: String
        var partition: UInt32
    }

    private let leaders = Mutex<[Key: String]>([:])

    func leader(_ topic: String, _ partition: UInt32) -> String? {
        leaders.withLock { $0[Key(topic: topic, partition: partition)] }
    }

    /// Remembers a leader's address; nil forgets.
    func learn(_ topic: String, _ partition: UInt32, _ address: String?) {
        leaders.withLock { $0[Key(topic: topic, partition: partition)] = address }
    }
}
