// The key-value service of one node: turns requests into proposals and confirmed reads. Holds no state of its own.
// Reading the store may touch the disk, so it happens on the executor for blocking work, never on the host's thread.
public import Cluster
public import Storage

public final class ReplicatedKeyValue: KeyValueService {
    private let inbox: HostInbox
    private let store: any KeyValueStore
    private let blocking: any BlockingExecutor

    public init(inbox: HostInbox, store: any KeyValueStore, blocking: any BlockingExecutor) {
        self.inbox = inbox
        self.store = store
        self.blocking = blocking
    }

    public func write(
        _ write: KeyValueWrite, session: WriteSequence?,
        completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        if let problem = session?.problem ?? KeyValueLimits.check(write) { return completion(.failure(problem)) }
        let action: KeyValueCommand.Action
        switch write {
        case .increment(let key, let by): action = .increment(key: key, by: by)
        case .deleteCounting(let keys): action = .deleteCounting(keys: keys)
        case .put, .delete:
            var batch = WriteBatch()
            do throws(StorageError) {
                try batch.append(write)
            } catch {
                return completion(.failure(.invalid(.valueTooLong, "\(error)")))
            }
            // A plain write stays what the log and the store take as it is.
            guard session != nil else { return propose(batch.bytes, completion) }
            action = .write(batch)
        }
        let command = KeyValueCommand(action: action, session: session)
        propose(CommandList.encode([command]), requiring: command.requiredLevel, completion)
    }

    public func openSession(completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        propose(CommandList.encode([KeyValueCommand(action: .openSession)]), completion)
    }

    public func closeSession(_ client: UInt64, completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        propose(CommandList.encode([KeyValueCommand(action: .closeSession(client: client))]), completion)
    }

    public func get(
        key: [UInt8], consistency: ReadConsistency,
        completion: @escaping @Sendable (Result<[UInt8]?, RequestError>) -> Void
    ) {
        if let error = KeyValueLimits.check(key: key) { return completion(.failure(error)) }
        let store = store
        let blocking = blocking
        let read: @Sendable () -> Void = {
            do throws(StorageError) {
                completion(.success(try store.get(key)))
            } catch {
                completion(.failure(.storage("\(error)")))
            }
        }
        let mode: ReadRequest.Mode
        switch consistency {
        case .stale:
            if !blocking.offer(read) { completion(.failure(.tooManyReads)) }
            return
        case .linearizable: mode = .confirmed
        case .lease: mode = .lease
        case .bounded(let milliseconds): mode = .heard(within: UInt64(milliseconds) * 1_000_000)
        }
        inbox.post(
            .read(
                .keyValue,
                ReadRequest(mode) { result in
                    switch result {
                    case .success: if !blocking.offer(read) { completion(.failure(.tooManyReads)) }
                    case .failure(let error): completion(.failure(error))
                    }
                }))
    }

    /// One command in whichever form.
    private func propose(
        _ payload: [UInt8], requiring level: UInt32 = 0,
        _ completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        var proposal = Proposal(payload: payload, operations: 1, completion: completion)
        proposal.isChecked = true
        proposal.requiredLevel = level
        inbox.post(.propose(.keyValue, proposal))
    }
}

extension WriteBatch {
    /// A put or a delete.
    fileprivate mutating func append(_ write: KeyValueWrite) throws(StorageError) {
        switch write {
        case .put(let key, let value): try put(key: key, value: value)
        case .delete(let key): try delete(key: key)
        case .increment, .deleteCounting: preconditionFailure("it is a command and no plain write")
        }
    }
}

extension KeyValueLimits {
    /// What is wrong with a key or a value, if anything.
    public static func check(key: [UInt8], value: [UInt8] = []) -> RequestError? {
        if key.isEmpty { return .invalid(.emptyKey, "the key is empty; give one of 1 to \(keyBytesMax) bytes") }
        if key.count > keyBytesMax {
            return .invalid(
                .keyTooLong, "the key has \(key.count) bytes; at most \(keyBytesMax) are allowed")
        }
        if value.count > valueBytesMax {
            return .invalid(
                .valueTooLong, "the value has \(value.count) bytes; at most \(valueBytesMax) are allowed")
        }
        if key.starts(with: reservedPrefix) {
            return .invalid(.reservedKey, "keys that begin with 00 FF \"strata\" 00 are the store's own; take another")
        }
        return nil
    }

    static func check(_ write: KeyValueWrite) -> RequestError? {
        switch write {
        case .put(let key, let value): return check(key: key, value: value)
        case .delete(let key), .increment(let key, _): return check(key: key)
        case .deleteCounting(let keys): return check(deleting: keys)
        }
    }

    /// What is wrong with the keys of a deletion, if anything.
    static func check(deleting keys: [[UInt8]]) -> RequestError? {
        guard (1...keysPerDeleteMax).contains(keys.count) else {
            return .invalid(
                .keyTooLong, "a deletion takes 1 to \(keysPerDeleteMax) keys at a time, not \(keys.count); send several"
            )
        }
        for key in keys {
            if let error = check(key: key) { return error }
        }
        return nil
    }
}
