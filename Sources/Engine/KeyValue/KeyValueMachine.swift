// The key-value group's state machine: the log's entries are write batches, the store is an LSM tree (or a hash log) that
// has no log of its own. Never looks at a clock; every replica that applied the same entries holds the same keys.
public import Cluster
import Raft
public import SegmentedLog
public import Storage

public final class KeyValueMachine: StateMachine {
    private let store: any KeyValueStore

    public init(store: any KeyValueStore) {
        self.store = store
    }

    public var frameKind: FrameKind { .command }
    public var appliedAtStart: UInt64 { store.applied.index }
    public var needsBackpressure: Bool { store.needsBackpressure }

    public func join(_ commands: [[UInt8]]) -> [UInt8]? {
        var joined = WriteBatch()
        for command in commands {
            // Commands were checked when they came in; one that is not a batch would be this node's own fault.
            guard let batch = try? WriteBatch(validating: command) else { return nil }
            joined.append(contentsOf: batch)
        }
        return joined.bytes
    }

    public func apply(_ entry: CommittedEntry) throws(StateMachineFailure) -> Result<UInt64, RequestError> {
        do {
            let batch = try WriteBatch(validating: Array(entry.payload))
            return .success(try store.apply(batch, at: LogPosition(index: entry.index, term: entry.term)))
        } catch {
            throw StateMachineFailure("\(error)")
        }
    }
}
