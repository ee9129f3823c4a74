// A store that a peer sent may say that all its numbers are used. Nothing more can be applied to it: that is the
// group's trouble, not the node's.
import FileIO
import Raft
import SegmentedLog
import SimulatedIO
import Testing

@testable import Cluster
@testable import KeyValue
@testable import Storage

@Suite struct ExhaustedStoreTests {
    /// An empty LSM store that has given out its last sequence.
    private static func sequencesAreUsedUp(_ disk: SimulatedFileSystem) throws {
        var state = ManifestState(store: 5)
        state.lastSequence = SkipList.sequenceMax
        _ = try Manifest(creating: 1, state: state, directory: "kv", fileSystem: disk)
        try disk.replaceFile("kv/CURRENT", with: CurrentFile.encode(1))
    }

    /// An empty hash log that has given out its last file number.
    private static func filesAreUsedUp(_ disk: SimulatedFileSystem) throws {
        let checkpoint = HashLogCheckpoint(
            store: 5, applied: .zero, lastSequence: 0, nextNumber: KeySlot.removed - 1, files: [])
        try disk.replaceFile("kv/CHECKPOINT", with: checkpoint.encode())
    }

    @Test(arguments: [StorageEngineKind.lsm, .hashlog])
    func aStoreWhoseNumbersAreUsedUpIsTheGroupsTrouble(engine: StorageEngineKind) throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.createDirectory("kv")
        if engine == .lsm { try Self.sequencesAreUsedUp(disk) } else { try Self.filesAreUsedUp(disk) }
        var options = StoreOptions()
        options.hashLog.fileBytes = 1
        let store = try openStore(kind: engine, directory: "kv", fileSystem: disk, options: options)
        let machine = try KeyValueMachine(store: store, clock: { 0 })
        var batch = WriteBatch()
        try batch.put(key: [1], value: [2])
        var failure: StateMachineFailure?
        for index in UInt64(1)...3 where failure == nil {
            let header = FrameHeader(
                kind: .command, payloadCount: UInt32(batch.bytes.count), recordCount: 0, index: index, term: 1,
                baseOffset: 0)
            do throws(StateMachineFailure) {
                _ = try machine.apply(CommittedEntry(index: index, term: 1, header: header, payload: batch.bytes[...]))
            } catch {
                failure = error
            }
        }
        #expect(failure?.scope == .group(passes: false), "\(failure?.description ?? "it was applied")")
    }
}
