// A client's session: how a write whose answer was lost is applied once although it is sent again (Ongaro's thesis
// §6.3). Sessions are replicated state: they are kept in the store beside the users' keys, under keys that no user can
// name, and change in the same batch as the write that they guard.
public import Cluster

/// Which write of which client this is.
public struct WriteSequence: Hashable, Sendable {
    /// As ``KeyValueService/openSession(completion:)`` gave it.
    public var client: UInt64
    /// Counts the client's writes from 1. A write that is sent again keeps its number.
    public var sequence: UInt64
    /// The client has the answers of all its writes up to here, so that they can be forgotten. Less than `sequence`.
    public var acknowledged: UInt64

    public init(client: UInt64, sequence: UInt64, acknowledged: UInt64 = 0) {
        self.client = client
        self.sequence = sequence
        self.acknowledged = acknowledged
    }

    /// What is wrong with it, if anything.
    var problem: RequestError? {
        acknowledged < sequence
            ? nil
            : .invalid(
                .sequenceForgotten,
                "a write's sequence (\(sequence)) counts from 1 and is above what the client acknowledges (\(acknowledged))"
            )
    }
}

/// Bounds of sessions. The same on every node of a cluster: they decide what is applied.
public struct SessionLimits: Hashable, Sendable {
    /// Sessions of one cluster. One more takes the place of the one that was used least recently.
    public var sessionsMax = 4096
    /// Answers kept for one session; with one more the oldest is forgotten.
    public var answersMax = 64
    /// A session that was not used for so long is over. Time runs only while there is a leader, which stamps it.
    public var idleMillisecondsMax: UInt64 = 3_600_000
    public init() {}
}

/// Why an increment was refused: the sentences of ``RequestError/Invalid/notAnInteger``.
public enum IncrementRefusal {
    /// The key holds something else.
    public static let notAnInteger = "the value is not an integer of 64 bits; only such can be incremented"
    /// The sum does not fit.
    public static let outOfRange = "the increment would leave the range of 64 bits"
}

/// What a write was answered, in the form in which it is kept.
struct KeptAnswer: Hashable {
    enum Outcome: UInt8 { case success = 0, notAnInteger = 1, outOfRange = 2 }
    var sequence: UInt64
    var outcome: Outcome
    var value: UInt64

    init(sequence: UInt64 = 0, _ outcome: Outcome, value: UInt64 = 0) {
        self.sequence = sequence
        self.outcome = outcome
        self.value = value
    }

    var result: Result<UInt64, RequestError> {
        switch outcome {
        case .success: .success(value)
        case .notAnInteger:
            .failure(.invalid(.notAnInteger, IncrementRefusal.notAnInteger))
        case .outOfRange: .failure(.invalid(.notAnInteger, IncrementRefusal.outOfRange))
        }
    }
}

struct ClientSession: Hashable {
    let client: UInt64
    /// Entry that used it last.
    var lastIndex: UInt64
    /// That entry's time, in milliseconds of the cluster's clock.
    var lastTime: UInt64
    /// Answers up to this sequence are forgotten.
    var floor: UInt64 = 0
    /// Ascending by sequence.
    var answers: [KeptAnswer] = []

    init(client: UInt64, index: UInt64, time: UInt64) {
        self.client = client
        lastIndex = index
        lastTime = time
    }

    mutating func forget(through sequence: UInt64) {
        guard sequence > floor else { return }
        floor = sequence
        answers.removeAll { $0.sequence <= sequence }
    }

    func answer(to sequence: UInt64) -> KeptAnswer? {
        answers.last { $0.sequence == sequence }
    }

    mutating func keep(_ answer: KeptAnswer, atMost max: Int) {
        let place = answers.lastIndex { $0.sequence < answer.sequence }.map { $0 + 1 } ?? 0
        answers.insert(answer, at: place)
        while answers.count > max {
            floor = answers[0].sequence
            answers.removeFirst()
        }
    }

    /// `u64 client | u64 last index | u64 last time | u64 floor | {u64 sequence, u8 outcome, u64 value}*`, little
    /// endian.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32 + answers.count * 17)
        for word in [client, lastIndex, lastTime, floor] { bytes.append(littleEndian: word) }
        for answer in answers {
            bytes.append(littleEndian: answer.sequence)
            bytes.append(answer.outcome.rawValue)
            bytes.append(littleEndian: answer.value)
        }
        return bytes
    }

    init?(_ bytes: [UInt8]) {
        var reader = CommandReader(bytes[...])
        guard let client = reader.word(), let index = reader.word(), let time = reader.word(), let floor = reader.word()
        else { return nil }
        self.init(client: client, index: index, time: time)
        self.floor = floor
        while !reader.isAtEnd {
            guard let sequence = reader.word(), let outcome = reader.byte().flatMap(KeptAnswer.Outcome.init(rawValue:)),
                let value = reader.word()
            else { return nil }
            answers.append(KeptAnswer(sequence: sequence, outcome, value: value))
        }
    }
}
