// A history of a few contended keys, recorded while leaders are killed, so that what clients saw can be judged: reads,
// writes and removals of registers, and increments, reads and removals of a counter, by several clients on the same
// keys, each with its start, its end and its answer. Bounded in rate and, by moving on to fresh keys, in what the judge
// has to search. It must never leave out an operation whose outcome nobody knows.
import LabKit
import StrataClient
import Synchronization

final class HistoryRecorder: Sendable {
    private struct State {
        var operations: [KeyOperation] = []
        var writes: UInt64 = 0
        var started = 0
    }

    private let state = Mutex(State())
    private let isStopped = Atomic<Bool>(false)
    private let prefix: String

    private static let clients = 6
    private static let registers = 3
    private static let counters = 1
    private static let keys = registers + counters
    /// Operations on one key before the next one takes its place.
    private static let operationsPerKey = 400
    /// Rest of a client between two operations.
    private static let pause = Duration.milliseconds(4)

    /// - Parameter prefix: of the keys, told apart from what other scenarios write.
    init(prefix: String) {
        self.prefix = prefix
    }

    /// Reads and writes until ``stop()``.
    func run(endpoints: [String], seed: UInt64) async throws {
        let client = try StrataClient(endpoints: endpoints)
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<Self.clients {
                group.addTask { await self.work(client, SeededRandom(seed: seed, stream: 9000 + UInt64(number))) }
            }
        }
        await client.close()
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
    }

    /// What was recorded; after ``run(endpoints:seed:)`` has returned.
    var history: [KeyOperation] { state.withLock { $0.operations } }

    private func work(_ client: StrataClient, _ random: SeededRandom) async {
        var random = random
        while !isStopped.load(ordering: .relaxed) {
            let number = random.below(Self.keys)
            let key = nextKey(number)
            // One change in eight removes the key.
            switch (random.below(16), number < Self.registers) {
            case (0..<8, true): await read(client, key)
            case (0..<8, false): await readCounter(client, key)
            case (8, _): await remove(client, key)
            case (_, true): await write(client, key)
            case (_, false): await increment(client, key, by: Int64(random.below(9)) - 3)
            }
            try? await Task.sleep(for: Self.pause)
        }
    }

    private func nextKey(_ number: Int) -> String {
        let epoch = state.withLock { state in
            state.started += 1
            return state.started / (Self.keys * Self.operationsPerKey)
        }
        return "\(prefix)-\(epoch)-\(number)"
    }

    private func read(_ client: StrataClient, _ key: String) async {
        let start = MonotonicClock.now()
        do throws(ClientError) {
            let value = try await client.get(Array(key.utf8))
            // A value that is no number of ours can't be explained by any write.
            let seen = value.map { UInt64(String(decoding: $0, as: UTF8.self)) ?? .max } ?? 0
            record(key, .read(seen), start, end: MonotonicClock.now())
        } catch {
            // A read without an answer tells nothing.
        }
    }

    private func readCounter(_ client: StrataClient, _ key: String) async {
        let start = MonotonicClock.now()
        do throws(ClientError) {
            let value = try await client.get(Array(key.utf8))
            // A text that is no number was never written; no sum of ours is this one.
            let seen = value.map { Int64(String(decoding: $0, as: UTF8.self)) ?? .min }
            record(key, .readNumber(seen), start, end: MonotonicClock.now())
        } catch {
            // A read without an answer tells nothing.
        }
    }

    private func increment(_ client: StrataClient, _ key: String, by amount: Int64) async {
        let start = MonotonicClock.now()
        do throws(ClientError) {
            let result = try await client.increment(Array(key.utf8), by: amount)
            record(key, .increment(by: amount, result: result), start, end: MonotonicClock.now())
        } catch {
            record(key, .increment(by: amount, result: 0), start, end: nil, Self.outcome(of: error))
        }
    }

    /// The answer does not say whether there was a value, so it is a write of nothing.
    private func remove(_ client: StrataClient, _ key: String) async {
        let start = MonotonicClock.now()
        do throws(ClientError) {
            try await client.delete(Array(key.utf8))
            record(key, .write(0), start, end: MonotonicClock.now())
        } catch {
            record(key, .write(0), start, end: nil, Self.outcome(of: error))
        }
    }

    private func write(_ client: StrataClient, _ key: String) async {
        let value = state.withLock { state in
            state.writes += 1
            return state.writes
        }
        let start = MonotonicClock.now()
        do throws(ClientError) {
            try await client.put(Array(key.utf8), Array(String(value).utf8))
            record(key, .write(value), start, end: MonotonicClock.now())
        } catch {
            record(key, .write(value), start, end: nil, Self.outcome(of: error))
        }
    }

    /// Of a refusal it is certain that nothing was changed, and nobody may read it.
    private static func outcome(of error: ClientError) -> KeyOperation.Outcome {
        error.code == .unavailable || error.code == .invalid ? .notApplied : .unknown
    }

    private func record(
        _ key: String, _ action: KeyOperation.Action, _ start: UInt64, end: UInt64?,
        _ outcome: KeyOperation.Outcome? = nil
    ) {
        let operation = KeyOperation(key: key, action: action, start: start, end: end, outcome: outcome)
        state.withLock { $0.operations.append(operation) }
    }
}
