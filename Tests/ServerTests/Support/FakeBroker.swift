// A broker in memory for the tests of its front ends: topics are arrays of stamped record batches, completions come
// from its own threads and, where a test wants it, out of order.
import Broker
import Cluster
import Dispatch
import Records
import Synchronization

/// An in-memory `BrokerService`.
final class FakeBroker: BrokerService {
    private struct Partition {
        var batches: [(baseOffset: UInt64, count: UInt64, bytes: [UInt8])] = []
        var next: UInt64 = 0
    }

    private struct State {
        var topics: [String: [Partition]] = [:]
        var failure: RequestError?
        var fetchFailures: [RequestError] = []
        var inFlight = 0
        var inFlightMost = 0
        var leader = MemberAddress(name: "node1", address: "127.0.0.1:9092")
        var topicFailuresLeft = 0
    }

    private let state = Mutex(State())
    private let queue = DispatchQueue(label: "fake broker", attributes: .concurrent)
    private let produceMillisecondsMax: Int

    init(produceMillisecondsMax: Int = 0) {
        self.produceMillisecondsMax = produceMillisecondsMax
    }

    /// Every produce and fetch fails so; nil mends it.
    func fail(with error: RequestError?) {
        state.withLock { $0.failure = error }
    }

    /// Fetches and offsets fail so, so many times.
    func failFetches(with error: RequestError, times: Int) {
        state.withLock { $0.fetchFailures = Array(repeating: error, count: times) }
    }

    /// Puts a batch into partition 0 as an older version's log may hold it: unchecked.
    func store(_ batch: [UInt8], count: UInt64, in topic: String) {
        state.withLock { state in
            guard var partitions = state.topics[topic] else { return }
            let base = partitions[0].next
            var stamped = batch
            RecordBatchView.stamp(&stamped, baseOffset: Int64(base), leaderEpoch: 1)
            partitions[0].batches.append((base, count, stamped))
            partitions[0].next += count
            state.topics[topic] = partitions
        }
    }

    /// Nothing is created before so many tries.
    func failTopics(times: Int) {
        state.withLock { $0.topicFailuresLeft = times }
    }

    /// Where this broker says that leaders are.
    func setLeader(_ leader: MemberAddress) {
        state.withLock { $0.leader = leader }
    }

    /// The most batches that were in flight together.
    var inFlightMost: Int { state.withLock { $0.inFlightMost } }

    func createTopic(
        name: String, partitions: UInt32, ifNotExists: Bool,
        completion: @escaping @Sendable (Result<Void, RequestError>) -> Void
    ) {
        let result: Result<Void, RequestError> = state.withLock { state in
            if state.topicFailuresLeft > 0 {
                state.topicFailuresLeft -= 1
                return .failure(.unavailable("no leader is known"))
            }
            if name.isEmpty { return .failure(.invalid(.invalidTopicName, "the topic's name is empty")) }
            if state.topics[name] != nil {
                return ifNotExists
                    ? .success(()) : .failure(.invalid(.topicExists, "topic '\(name)' exists already"))
            }
            state.topics[name] = Array(repeating: Partition(), count: Int(partitions))
            return .success(())
        }
        queue.async { completion(result) }
    }

    func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acks,
        completion: @escaping @Sendable (Result<ProduceReceipt, RequestError>) -> Void
    ) {
        let result: Result<ProduceReceipt, RequestError> = state.withLock { state in
            state.inFlight += 1
            state.inFlightMost = max(state.inFlightMost, state.inFlight)
            if let failure = state.failure { return .failure(failure) }
            guard var partitions = state.topics[topic], partitions.indices.contains(Int(partition)) else {
                return .failure(Self.unknown(topic, partition))
            }
            let count: UInt32
            do throws(RequestError) {
                count = try BrokerLimits.check(batch: batch)
            } catch {
                return .failure(error)
            }
            let base = partitions[Int(partition)].next
            var stamped = batch
            RecordBatchView.stamp(&stamped, baseOffset: Int64(base), leaderEpoch: 1)
            partitions[Int(partition)].batches.append((base, UInt64(count), stamped))
            partitions[Int(partition)].next += UInt64(count)
            state.topics[topic] = partitions
            return .success(ProduceReceipt(baseOffset: acks == .none ? 0 : base, recordCount: count))
        }
        let delay = produceMillisecondsMax == 0 ? 0 : Int.random(in: 0...produceMillisecondsMax)
        queue.asyncAfter(deadline: .now() + .milliseconds(delay)) {
            self.state.withLock { $0.inFlight -= 1 }
            completion(result)
        }
    }

    func fetch(
        topic: String, partition: UInt32, offset: UInt64, maxBytes: Int, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<FetchedBatches, RequestError>) -> Void
    ) {
        let result: Result<FetchedBatches, RequestError> = state.withLock { state in
            if let failure = state.fetchFailures.popLast() ?? state.failure { return .failure(failure) }
            guard let partitions = state.topics[topic], partitions.indices.contains(Int(partition)) else {
                return .failure(Self.unknown(topic, partition))
            }
            let log = partitions[Int(partition)]
            guard offset <= log.next else {
                return .failure(.invalid(.offsetOutOfRange, "offset \(offset) is above the high watermark \(log.next)"))
            }
            var found = FetchedBatches(bytes: [], nextOffset: offset, highWatermark: log.next, logStartOffset: 0)
            for batch in log.batches where batch.baseOffset + batch.count > offset {
                guard found.bytes.isEmpty || found.bytes.count + batch.bytes.count <= maxBytes else { break }
                found.bytes += batch.bytes
                found.nextOffset = batch.baseOffset + batch.count
            }
            return .success(found)
        }
        if case .success(let found) = result, found.bytes.isEmpty, waitMilliseconds > 0 {
            // A poll in small steps stands in for the broker's wake-ups.
            let step: UInt32 = 5
            queue.asyncAfter(deadline: .now() + .milliseconds(Int(step))) {
                self.fetch(
                    topic: topic, partition: partition, offset: offset, maxBytes: maxBytes,
                    waitMilliseconds: waitMilliseconds > step ? waitMilliseconds - step : 0, completion: completion)
            }
        } else {
            queue.async { completion(result) }
        }
    }

    func describe() -> ClusterDescription {
        state.withLock { state in
            ClusterDescription(
                clusterID: "c1", members: [state.leader], controller: state.leader,
                topics: state.topics.keys.sorted().map { name in
                    TopicDescription(
                        name: name,
                        partitions: (state.topics[name] ?? []).enumerated().map { index, partition in
                            PartitionDescription(
                                partition: UInt32(index), leader: state.leader, term: 1, replicas: ["node1"],
                                logStartOffset: 0, highWatermark: partition.next)
                        })
                })
        }
    }

    private static func unknown(_ topic: String, _ partition: UInt32) -> RequestError {
        .invalid(.unknownTopic, "there is no partition \(partition) of a topic '\(topic)'; create the topic first")
    }
}
