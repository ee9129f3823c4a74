// What a node answers when it is asked for a hash of its replicated state: two nodes that applied the same entries give
// the same hash. The moment is taken on the host's thread, the reading is done on threads that may block.
public import Cluster
import KeyValue
import Raft
import SegmentedLog
import Storage
import Synchronization

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
    ///   - index: the entry after which to look; a group that is past it answers for its present (a log still answers
    ///     for that entry). nil: now.
    ///   - from: first entry of a log to cover; nil: the log's first.
    ///   - isOver: asked again and again while the hash is made, on any thread; true once nobody waits for it.
    func stateHash(
        group: GroupID, index: UInt64?, from: UInt64?, unless isOver: @escaping @Sendable () -> Bool,
        completion: @escaping @Sendable (Result<GroupStateHash, RequestError>) -> Void)
}

extension StateHashService {
    /// As the other, for one who waits to the end.
    public func stateHash(
        group: GroupID, index: UInt64?, from: UInt64?,
        completion: @escaping @Sendable (Result<GroupStateHash, RequestError>) -> Void
    ) {
        stateHash(group: group, index: index, from: from, unless: { false }, completion: completion)
    }
}

/// ``StateHashService`` of a running node. Hashes are made one after the other on an executor of their own, never where
/// requests run; a few may wait, the next is told to come again; none goes on once nobody waits for it.
public final class NodeStateHash: StateHashService {
    /// Hashes that may be under way or wait; each pins a moment of the store.
    public static let pendingMax = 8
    /// Nanoseconds that one hash may take, from the moment that it is of; the front ends give up before.
    public static let timeMax: UInt64 = 30_000_000_000

    private let inbox: HostInbox
    private let store: any KeyValueStore
    private let blocking: any BlockingExecutor
    private let clock: @Sendable () -> UInt64
    private let pending = Atomic<Int>(0)
    private let isStopped = Atomic<Bool>(false)

    /// - Parameters:
    ///   - blocking: runs one hash at a time.
    ///   - clock: nanoseconds; what takes longer than ``timeMax`` on it is given up.
    public init(
        node: borrowing Node, inbox: HostInbox, blocking: any BlockingExecutor,
        clock: @escaping @Sendable () -> UInt64 = { 0 }
    ) {
        self.inbox = inbox
        self.blocking = blocking
        self.clock = clock
        store = node.store
    }

    /// Gives up what runs and what waits.
    public func stop() {
        isStopped.store(true, ordering: .relaxed)
    }

    public func stateHash(
        group id: GroupID, index: UInt64?, from: UInt64?, unless isOver: @escaping @Sendable () -> Bool,
        completion: @escaping @Sendable (Result<GroupStateHash, RequestError>) -> Void
    ) {
        let store = store
        inbox.post(
            .run { [self] host in
                let log = host.log(of: id)
                host.atApplied(index, of: id) { [self] result in
                    switch result {
                    case .failure(let error): completion(.failure(error))
                    case .success(let applied) where id == .keyValue:
                        guard admit(completion) else { return }
                        let frozen = store.freeze()
                        run(completion, unless: isOver) { Self.hash(frozen, applied, unless: $0) }
                    case .success(let applied):
                        guard admit(completion) else { return }
                        let last = min(index ?? applied, applied)
                        run(completion, unless: isOver) { Self.hash(log, id, from: from, through: last, unless: $0) }
                    }
                }
            })
    }

    private func admit(_ completion: (Result<GroupStateHash, RequestError>) -> Void) -> Bool {
        guard pending.add(1, ordering: .relaxed).newValue <= Self.pendingMax else {
            pending.subtract(1, ordering: .relaxed)
            completion(.failure(.unavailable("\(Self.pendingMax) hashes are being made or wait already; try again")))
            return false
        }
        return true
    }

    private func run(
        _ completion: @escaping @Sendable (Result<GroupStateHash, RequestError>) -> Void,
        unless isOver: @escaping @Sendable () -> Bool,
        _ work: @escaping @Sendable (() -> Bool) -> Result<GroupStateHash, RequestError>
    ) {
        let clock = clock
        let deadline = clock() + Self.timeMax
        blocking.run { [self] in
            let isCancelled = { self.isStopped.load(ordering: .relaxed) || clock() > deadline || isOver() }
            // Also where there is so little to hash that nobody would look.
            let result = isCancelled() ? .failure(Self.givenUp) : work(isCancelled)
            pending.subtract(1, ordering: .relaxed)
            completion(result)
        }
    }

    private static let givenUp = RequestError.unavailable(
        "the hash took too long, the node stops, or nobody waits any more; nothing was changed")

    private static func hash(
        _ frozen: any FrozenStore, _ applied: UInt64, unless isCancelled: () -> Bool
    ) -> Result<GroupStateHash, RequestError> {
        do throws(StorageError) {
            guard let found = try frozen.hash(apart: KeyValueLimits.reservedPrefix, unless: isCancelled) else {
                return .failure(givenUp)
            }
            return .success(
                GroupStateHash(
                    group: .keyValue, applied: applied, hash: found.keys, sessions: found.apart, keys: found.count))
        } catch {
            return .failure(.storage("\(error)"))
        }
    }

    private static func hash(
        _ log: SegmentedLog?, _ id: GroupID, from: UInt64?, through last: UInt64, unless isCancelled: () -> Bool
    ) -> Result<GroupStateHash, RequestError> {
        guard let log else { return .failure(.unavailable("the group is not on this node")) }
        let first = max(from ?? log.firstIndex, log.firstIndex)
        do throws(SegmentedLogError) {
            let hash = try log.hash(from: first, through: last, unless: isCancelled)
            return .success(GroupStateHash(group: id, applied: last, hash: hash, first: first))
        } catch {
            return .failure(isCancelled() ? givenUp : .storage("\(error)"))
        }
    }
}
