// Increments through faults: what nobody may do twice, sent again in sessions until it is answered. In the end each
// counter must be exactly the number of answered increments: less is a lost one, more is one that was applied twice. It
// must never count an increment as answered that was not, nor leave out one whose outcome nobody knows.
import LabKit
import StrataClient
import Synchronization

final class SessionWorkload: Sendable {
    private struct Counter {
        var acknowledged: Int64 = 0
        var unknown: Int64 = 0
        var refused: Int64 = 0
        /// Answers that were not above the client's last one: each increment is answered once and in order.
        var repeated: Int64 = 0
        var lastAnswer: Int64 = 0
    }

    private let counters: Mutex<[Counter]>
    private let isStopped = Atomic<Bool>(false)
    private let prefix: String

    private static let clients = 4
    /// Rest of a client between two increments: they are there to be counted, not to load the cluster.
    private static let pause = Duration.milliseconds(40)

    /// - Parameter prefix: of the keys, told apart from what other scenarios write.
    init(prefix: String) {
        self.prefix = prefix
        counters = Mutex(Array(repeating: Counter(), count: Self.clients))
    }

    /// Increments until ``stop()``.
    func run(endpoints: [String]) async throws {
        var options = ClientOptions()
        options.requestTimeout = .seconds(30)
        let client = try StrataClient(endpoints: endpoints, options: options)
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<Self.clients { group.addTask { await self.work(client, number) } }
        }
        await client.close()
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
    }

    private func key(_ number: Int) -> [UInt8] { Array("\(prefix)-\(number)".utf8) }

    private func work(_ client: StrataClient, _ number: Int) async {
        while !isStopped.load(ordering: .relaxed) {
            do throws(ClientError) {
                let value = try await client.increment(key(number))
                counters.withLock { counters in
                    counters[number].acknowledged += 1
                    if value <= counters[number].lastAnswer { counters[number].repeated += 1 }
                    counters[number].lastAnswer = value
                }
            } catch {
                let isUnknown = error.code == .unknown
                counters.withLock { counters in
                    if isUnknown { counters[number].unknown += 1 } else { counters[number].refused += 1 }
                }
            }
            try? await Task.sleep(for: Self.pause)
        }
    }

    /// Reads the counters back; after ``run(endpoints:)`` has returned.
    func verdict(endpoints: [String]) async throws -> SessionVerdict {
        let client = try StrataClient(endpoints: endpoints)
        var verdict = SessionVerdict()
        for (number, counter) in counters.withLock({ $0 }).enumerated() {
            let bytes = try await client.get(key(number)) ?? Array("0".utf8)
            let value = Int64(String(decoding: bytes, as: UTF8.self)) ?? .min
            verdict.acknowledged += counter.acknowledged
            verdict.unknown += counter.unknown
            verdict.refused += counter.refused
            verdict.appliedTwice += max(0, value - counter.acknowledged - counter.unknown) + counter.repeated
            verdict.lost += max(0, counter.acknowledged - value)
        }
        await client.close()
        return verdict
    }
}

/// What became of the increments.
struct SessionVerdict: Hashable, Sendable {
    var acknowledged: Int64 = 0
    /// Nobody knows: out of time, or the session ended. Each may have been applied once.
    var unknown: Int64 = 0
    /// Certainly not applied.
    var refused: Int64 = 0
    var appliedTwice: Int64 = 0
    var lost: Int64 = 0

    var line: String {
        "increments in sessions: \(acknowledged) acknowledged, \(unknown) unknown, \(refused) refused, lost: \(lost), "
            + "applied twice: \(appliedTwice)"
    }

    var checks: [Check] {
        [
            Check(
                "sessions_applied_once", passed: appliedTwice == 0 && lost == 0 && acknowledged > 0, detail: line,
                isAboutData: true),
            Check("sessions_leave_no_doubt", passed: unknown == 0, detail: line, voidsRun: false),
        ]
    }
}
