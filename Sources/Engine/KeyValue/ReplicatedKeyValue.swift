// The key-value service of one node: turns requests into proposals and confirmed reads. Holds no state of its own. Reading
// the store may touch the disk, so it happens on the executor for blocking work, never on the host's thread.
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

    public func put(
        key: [UInt8], value: [UInt8], completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        if let error = KeyValueLimits.check(key: key, value: value) { return completion(.failure(error)) }
        propose(completion) { batch throws(StorageError) in try batch.put(key: key, value: value) }
    }

    public func delete(key: [UInt8], completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        if let error = KeyValueLimits.check(key: key) { return completion(.failure(error)) }
        propose(completion) { batch throws(StorageError) in try batch.delete(key: key) }
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
        switch consistency {
        case .stale:
            blocking.run(read)
        case .linearizable:
            inbox.post(
                .read(
                    .keyValue,
                    ReadRequest { result in
                        switch result {
                        case .success: blocking.run(read)
                        case .failure(let error): completion(.failure(error))
                        }
                    }))
        }
    }

    private func propose(
        _ completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void,
        _ fill: (inout WriteBatch) throws(StorageError) -> Void
    ) {
        var batch = WriteBatch()
        do throws(StorageError) {
            try fill(&batch)
        } catch {
            return completion(.failure(.invalid(.valueTooLong, "\(error)")))
        }
        inbox.post(
            .propose(
                .keyValue,
                Proposal(payload: batch.bytes, operations: UInt32(batch.count), completion: completion)))
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
        return nil
    }
}
