// One entry's list of commands on its way into the store: what each does, whether it was done before, what it is
// answered. Everything ends up in one write batch, sessions included, so that an entry is applied as a whole or not at
// all. It reads the store for increments and for deletions that count: one point read for each key, on the host's
// thread.
import Cluster
import Storage

struct CommandRun {
    private let machine: KeyValueMachine
    private let index: UInt64
    private let time: UInt64
    /// Sequence that the batch's first operation will have.
    private let first: UInt64
    private let slotsBefore: Int
    private(set) var batch = WriteBatch()
    /// One for each operation of a write without a session, one for every other command.
    private(set) var answers: [Result<UInt64, RequestError>] = []
    /// Slots of sessions that changed, in order.
    private var touched: [Int] = []
    /// What this entry wrote to keys, for increments behind those writes; nil value: deleted.
    private var written: [[UInt8]: [UInt8]?] = [:]

    init(machine: KeyValueMachine, index: UInt64, time: UInt64) {
        self.machine = machine
        self.index = index
        self.time = time
        first = machine.store.lastSequence + 1
        slotsBefore = machine.sessions.slotCount
    }

    mutating func perform(_ command: KeyValueCommand) throws(StorageError) {
        if let session = command.session {
            answers.append(try performOnce(command, session))
            return
        }
        if case .write(let writes) = command.action, writes.count > 1 {
            let base = first + UInt64(batch.count)
            _ = try execute(command)
            for place in 0..<UInt64(writes.count) { answers.append(.success(base + place)) }
            return
        }
        answers.append(try execute(command).result)
    }

    /// Writes the sessions that changed behind the writes that changed them.
    mutating func finish() throws(StorageError) {
        for slot in touched {
            guard let session = machine.sessions[slot] else { continue }
            try batch.put(key: SessionTable.key(slot), value: session.encoded)
        }
        if machine.sessions.slotCount > slotsBefore {
            let record = SessionTable.countRecord(machine.sessions.slotCount)
            try batch.put(key: record.key, value: record.value)
        }
    }

    private mutating func performOnce(
        _ command: KeyValueCommand, _ session: WriteSequence
    ) throws(StorageError) -> Result<UInt64, RequestError> {
        guard let slot = machine.sessions.slot(of: session.client, at: time), let known = machine.sessions[slot] else {
            return .failure(
                .invalid(
                    .sessionExpired,
                    "session \(session.client) is unknown or over, this attempt wrote nothing; open a new one, and read "
                        + "before you write again if an earlier attempt was not answered"))
        }
        if !touched.contains(slot) { touched.append(slot) }
        if session.sequence <= max(known.floor, session.acknowledged) {
            touch(slot, session)
            return .failure(
                .invalid(
                    .sequenceForgotten,
                    "write \(session.sequence) of session \(session.client) was answered before or is too old to tell; "
                        + "this attempt wrote nothing"))
        }
        if let kept = known.answer(to: session.sequence) {
            touch(slot, session)
            return kept.result
        }
        var answer = try execute(command)
        answer.sequence = session.sequence
        touch(slot, session)
        let limit = machine.sessions.limits.answersMax
        machine.sessions.update(slot) { $0.keep(answer, atMost: limit) }
        return answer.result
    }

    private func touch(_ slot: Int, _ session: WriteSequence) {
        machine.sessions.update(slot) { known in
            known.lastIndex = index
            known.lastTime = max(known.lastTime, time)
            known.forget(through: session.acknowledged)
        }
    }

    private mutating func execute(_ command: KeyValueCommand) throws(StorageError) -> KeptAnswer {
        let next = first + UInt64(batch.count)
        switch command.action {
        case .write(let writes):
            batch.append(contentsOf: writes)
            for write in writes { written[write.key] = .some(write.kind == .put ? write.value : nil) }
            return KeptAnswer(.success, value: next)
        case .increment(let key, let by):
            let current = if let own = written[key] { own } else { try machine.store.get(key) }
            guard let number = current.map({ Self.integer($0) }) ?? 0 else { return KeptAnswer(.notAnInteger) }
            let (sum, overflow) = number.addingReportingOverflow(by)
            guard !overflow else { return KeptAnswer(.outOfRange) }
            let value = Array(String(sum).utf8)
            try batch.put(key: key, value: value)
            written[key] = value
            return KeptAnswer(.success, value: UInt64(bitPattern: sum))
        case .deleteCounting(let keys):
            var count: UInt64 = 0
            for key in keys {
                let exists = if let own = written[key] { own != nil } else { try machine.store.get(key) != nil }
                guard exists else { continue }
                try batch.delete(key: key)
                written[key] = .some(nil)
                count += 1
            }
            return KeptAnswer(.success, value: count)
        case .openSession:
            try machine.sessions.open(client: next, index: index, time: time, into: &batch)
            return KeptAnswer(.success, value: next)
        case .closeSession(let client):
            try machine.sessions.close(client, into: &batch)
            return KeptAnswer(.success, value: 0)
        }
    }

    /// A decimal number as increments write it: no sign but a minus, no leading zeros, no blanks, 64 bits.
    private static func integer(_ bytes: [UInt8]) -> Int64? {
        guard let number = Int64(String(decoding: bytes, as: UTF8.self)), Array(String(number).utf8) == bytes else {
            return nil
        }
        return number
    }
}
