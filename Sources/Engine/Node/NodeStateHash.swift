// What a node answers when it is asked for a hash of its replicated state: two nodes that applied the same entries give the
// same hash. The moment is taken on the host's thread, the reading is done on threads that may block.
public import Cluster
import KeyValue
import Raft
import SegmentedLog
import Storage

/// A hash of one group's replicated state.
public struct GroupStateHash: Hashable, Sendable {
    public var group: GroupID
    /// The newest applied entry that the hash covers.
    public var applied: UInt64
    /// Of keys and values; of the log's frames for a group whose log is its data.
    public var hash: UInt64
    /// First entry that the hash covers; 0 for the key-value group, whose hash is of the state and not of the log.
    public var first: UInt64
    /// The client sessions' own hash; 0 where there are none.
    public var sessions: UInt64
    /// Live keys.
    public var keys: UInt64

    public init(
        group: GroupID, applied: UInt64, hash: UInt64, first: UInt64 = 0, sessions: UInt64 = 0, keys: UInt64 = 0
    ) {
        self.group = group
        self.applied = applied
        self.hash = hash
        self.first = first
        self.sessions = sessions
        self.keys = keys
    }
}

/// A node that can be asked for hashes of its state.
public protocol StateHashService: AnyObject, Sendable {
    /// - Parameters:
    ///   - index: the entry after which to look; a group that is past it answers for its present (a log still answers for
    ///     that entry). nil: now.
    ///   - from: first entry of a log to cover; nil: the log's first.
    func stateHash(
        group: GroupID, index: UInt64?, from: UInt64?,
        completion: @escaping @Sendable (Result<GroupStateHash, RequestError>) -> Void)
}

/// ``StateHashService`` of a running node.
public final class NodeStateHash: StateHashService {
    private let inbox: HostInbox
    private let store: any KeyValueStore
    private let blocking: any BlockingExecutor

    public init(node: borrowing Node, inbox: HostInbox, blocking: any BlockingExecutor) {
        self.inbox = inbox
        self.blocking = blocking
        store = node.store
    }

    public func stateHash(
        group id: GroupID, index: UInt64?, from: UInt64?,
        completion: @escaping @Sendable (Result<GroupStateHash, RequestError>) -> Void
    ) {
        let store = store
        let blocking = blocking
        inbox.post(
            .run { host in
                let log = host.log(of: id)
                host.atApplied(index, of: id) { result in
                    switch result {
                    case .failure(let error): completion(.failure(error))
                    case .success(let applied) where id == .keyValue:
                        let frozen = store.freeze()
                        blocking.run { completion(Self.hash(frozen, applied)) }
                    case .success(let applied):
                        let last = min(index ?? applied, applied)
                        blocking.run { completion(Self.hash(log, id, from: from, through: last)) }
                    }
                }
            })
    }

    private static func hash(_ frozen: any FrozenStore, _ applied: UInt64) -> Result<GroupStateHash, RequestError> {
        do throws(StorageError) {
            let found = try frozen.hash(apart: KeyValueLimits.reservedPrefix)
            return .success(
                GroupStateHash(
                    group: .keyValue, applied: applied, hash: found.keys, sessions: found.apart, keys: found.count))
        } catch {
            return .failure(.storage("\(error)"))
        }
    }

    private static func hash(
        _ log: SegmentedLog?, _ id: GroupID, from: UInt64?, through last: UInt64
    ) -> Result<GroupStateHash, RequestError> {
        guard let log else { return .failure(.unavailable("the group is not on this node")) }
        let first = max(from ?? log.firstIndex, log.firstIndex)
        do throws(SegmentedLogError) {
            let hash = try log.hash(from: first, through: last)
            return .success(GroupStateHash(group: id, applied: last, hash: hash, first: first))
        } catch {
            return .failure(.storage("\(error)"))
        }
    }
}
