// A history of a few contended keys, recorded while leaders are killed, so that what clients saw can be judged: reads and
// writes of several clients on the same keys, each with its start, its end and its answer. Bounded in rate and, by moving
// on to fresh keys, in what the judge has to search. It must never leave out an operation whose outcome nobody knows.
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
    private static let keys = 3
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
            let key = nextKey(random.below(Self.keys))
            if random.below(2) == 0 { await read(client, key) } else { await write(client, key) }
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
            // Of these it is certain that nothing was written, and nobody may read it.
            let isRefused = error.code == .unavailable || error.code == .invalid
            record(key, .write(value), start, end: nil, isRefused ? .notApplied : .unknown)
        }
    }

    private func record(
        _ key: String, _ action: KeyOperation.Action, _ start: UInt64, end: UInt64?,
        _ outcome: KeyOperation.Outcome? = nil
    ) {
        let operation = KeyOperation(key: key, action: action, start: start, end: end, outcome: outcome)
        state.withLock { $0.operations.append(operation) }
    }
}
