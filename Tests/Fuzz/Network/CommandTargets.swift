// The commands of the state machines, which a peer may forward and a log may hold: decoding, joining, and applying what
// was accepted. One that can't be read must be refused, never trapped on, for it comes again after every restart.
import FileIO
import Memory
import Raft
import SegmentedLog
import SimulatedIO
import Storage

@testable import Broker
@testable import Cluster
@testable import KeyValue

func commandTargets() -> [FuzzTarget] {
    [
        FuzzTarget(name: "controller-commands") { mutator in
            let machine = ControllerMachine(
                topics: TopicTable(), founders: PeerCorpus.founders, declared: { _ in }, created: { _ in })
            try apply(PeerCorpus.controllerCommands, to: machine, &mutator) { ControllerCommand($0) != nil }
        },
        FuzzTarget(name: "keyvalue-commands") { mutator in
            let system = SimulatedFileSystem(seed: 1)
            try system.createDirectory("data")
            var options = StoreOptions()
            options.hashLog.allocator = .system
            options.lsm.allocator = .system
            options.lsm.memtableBytes = 32 << 10
            options.lsm.memoryBudgetBytes = 128 << 10
            // Which takes far longer to open.
            let kind = mutator.chance(1, in: 8) ? StorageEngineKind.lsm : .hashlog
            let store = try openStore(
                kind: kind, directory: "data", fileSystem: system, options: options)
            defer { store.close() }
            let machine = try KeyValueMachine(store: store, clock: { 1_000_000_000 })
            try apply(PeerCorpus.keyValueCommands, to: machine, &mutator) { payload in
                CommandList.isList(payload)
                    ? CommandList.decode(payload) != nil : (try? WriteBatch(validating: Array(payload))) != nil
            }
        },
        FuzzTarget(name: "sessions") { mutator in
            var session = ClientSession(client: 7, index: 3, time: 9)
            for number in 1...UInt64(1 + mutator.below(5)) {
                session.keep(KeptAnswer(sequence: number, .success, value: number), atMost: 64)
            }
            var bytes = session.encoded
            mutator.reshape(&bytes, donor: bytes)
            guard var read = ClientSession(bytes) else { throw Refused() }
            precondition(read.encoded == bytes, "a session that is written differently than it was read")
            read.keep(KeptAnswer(sequence: mutator.next(), .success), atMost: 4)
            read.forget(through: mutator.next())
            for answer in read.answers { _ = answer.result }
        },
    ]
}

/// Joins and applies a few commands; those that can't be read must be refused where they can be told.
private func apply(
    _ golden: [[UInt8]], to machine: any StateMachine, _ mutator: inout Mutator,
    isReadable: (ArraySlice<UInt8>) -> Bool
) throws {
    var commands: [[UInt8]] = []
    for _ in 0...mutator.below(4) {
        var command = mutator.pick(golden)
        if mutator.chance(3, in: 4) { mutator.reshape(&command, donor: mutator.pick(golden)) }
        commands.append(command)
    }
    var payloads = commands
    if commands.count > 1, let joined = machine.join(commands) { payloads.append(joined) }
    var accepted = 0
    for (number, payload) in payloads.enumerated() {
        var stamped = payload
        machine.stamp(&stamped, baseOffset: 0, term: UInt64(1 + number / 2))
        guard isReadable(stamped[...]) else { continue }
        let index = UInt64(1 + number)
        let header = FrameHeader(
            kind: machine.frameKind, payloadCount: UInt32(stamped.count), recordCount: 0, index: index, term: 1,
            baseOffset: 0)
        _ = machine.answerCount(of: stamped)
        _ = try machine.apply(CommittedEntry(index: index, term: 1, header: header, payload: stamped[...]))
        accepted += 1
    }
    if accepted == 0 { throw Refused() }
}
