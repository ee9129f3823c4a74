// A moment of the store that stays readable: while a snapshot lives, flushes and compactions keep what it can see.
internal import Synchronization

/// One moment. Reads through it see every batch applied before it was taken and none after. Released with its last
/// reference; a snapshot that is kept for long keeps disk space, nothing else.
public final class Snapshot: Sendable {
    /// The newest sequence that it sees.
    public let sequence: UInt64
    private let registry: SnapshotRegistry

    init(sequence: UInt64, registry: SnapshotRegistry) {
        self.sequence = sequence
        self.registry = registry
    }

    deinit {
        registry.remove(sequence)
    }
}

/// The sequences of all living snapshots of one store.
final class SnapshotRegistry: Sendable {
    private let sequences = Mutex<[UInt64]>([])

    /// Registers the sequence that `current` gives, before a collector can miss it.
    func take(_ current: () -> UInt64) -> Snapshot {
        let sequence = sequences.withLock { sequences in
            let sequence = current()
            // Sequences only grow, so the list stays sorted.
            sequences.append(sequence)
            return sequence
        }
        return Snapshot(sequence: sequence, registry: self)
    }

    fileprivate func remove(_ sequence: UInt64) {
        sequences.withLock { sequences in
            if let place = sequences.firstIndex(of: sequence) { sequences.remove(at: place) }
        }
    }

    /// Ascending. A snapshot taken later is at least as new as everything that was visible before this call.
    var all: [UInt64] { sequences.withLock { $0 } }
}
