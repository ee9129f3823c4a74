// Consumers that wait for more records are told when their time is over, whatever the store has to do meanwhile.
import Broker
import Cluster
import FileIO
import Foundation
import KeyValue
import Logging
import Raft
import SimulatedIO
import Storage
import StrataNode
import Synchronization
import Testing

@testable import Server

@Suite struct WaitingConsumersTests {
    /// A disk on which new tables of the store take until the test lets them go.
    private final class HeldTables: FileSystem {
        private let base = SimulatedFileSystem(seed: 1)
        private let state = Mutex((isArmed: false, isReached: false))
        private let gate = DispatchSemaphore(value: 0)

        func arm() { state.withLock { $0.isArmed = true } }
        var isReached: Bool { state.withLock { $0.isReached } }
        func release() {
            state.withLock { $0.isArmed = false }
            gate.signal()
        }

        func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File {
            let isHeld = state.withLock { state in
                guard state.isArmed, path.contains("/lsm/"), mode == .create || mode == .createOrOpen else {
                    return false
                }
                state.isReached = true
                return true
            }
            if isHeld { gate.wait() }
            return try base.open(path, mode, caching)
        }

        var batchesGain: Bool { base.batchesGain }
        func perform(_ operations: inout [FileOperation]) { base.perform(&operations) }
        func createDirectory(_ path: String) throws(FileIOError) { try base.createDirectory(path) }
        func list(_ path: String) throws(FileIOError) -> [String] { try base.list(path) }
        func exists(_ path: String) throws(FileIOError) -> Bool { try base.exists(path) }
        func rename(_ source: String, to destination: String) throws(FileIOError) {
            try base.rename(source, to: destination)
        }
        func link(_ source: String, to destination: String) throws(FileIOError) {
            try base.link(source, to: destination)
        }
        func remove(_ path: String) throws(FileIOError) { try base.remove(path) }
        func removeTree(_ path: String) throws(FileIOError) { try base.removeTree(path) }
        func syncDirectory(_ path: String) throws(FileIOError) { try base.syncDirectory(path) }
        func lock(_ path: String) throws(FileIOError) -> any DirectoryLock { try base.lock(path) }
    }

    private final class NoPeers: PeerTransport {
        func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID) {}
        func canReach(_ peer: NodeID) -> Bool { false }
    }

    /// What a call with a completion came to; nil when nothing did in time.
    private func answer<Value: Sendable>(
        _ call: (@escaping @Sendable (Result<Value, RequestError>) -> Void) -> Void
    ) async throws -> Result<Value, RequestError>? {
        let result = Mutex<Result<Value, RequestError>?>(nil)
        let box = Box(result: result)
        call { answer in box.result.withLock { $0 = answer } }
        for _ in 0..<1000 {
            if let answer = box.result.withLock({ $0 }) { return answer }
            try await Task.sleep(for: .milliseconds(10))
        }
        return nil
    }

    private final class Box<Value: Sendable>: Sendable {
        let result: Mutex<Result<Value, RequestError>?>
        init(result: consuming Mutex<Result<Value, RequestError>?>) { self.result = result }
    }

    @Test func aConsumersWaitEndsThoughTheStoreIsBusy() async throws {
        let disk = HeldTables()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let runtime = NodeRuntime(logger: logger, metrics: NodeMetrics(switches: Switches()), fileSystem: disk)
        let member = Member(name: "node1", incarnation: "1", address: "127.0.0.1:1")
        try disk.createDirectory("data")
        var options = Node.Options(directory: "data", seed: 1)
        options.storage.lsm.memtableBytes = 64 * 1024
        let services = try await runtime.start(
            cluster: FormedCluster(id: "test", members: [member]), member: member, options: options,
            transport: NoPeers(), fileSystem: disk, declared: { _ in }, departed: {}, failed: { _ in })
        defer { runtime.stop() }
        let created = try await answer {
            services.broker.createTopic(name: "t", partitions: 1, ifNotExists: true, completion: $0)
        }
        guard case .success? = created else {
            Issue.record("\(String(describing: created))")
            return
        }
        func fetch(_ milliseconds: UInt32) async throws -> Result<FetchedBatches, RequestError>? {
            try await answer {
                services.broker.fetch(
                    topic: "t", partition: 0, offset: 0, maxBytes: 1000, waitMilliseconds: milliseconds, completion: $0)
            }
        }
        // The partition is opened and elects its leader.
        for _ in 0..<1000 {
            if case .success? = try await fetch(1) { break }
            try await Task.sleep(for: .milliseconds(10))
        }
        disk.arm()
        defer { disk.release() }
        var count = 0
        while !disk.isReached, count < 1000 {
            let key = Array("k\(count)".utf8)
            services.keyValue.write(
                .put(key: key, value: [UInt8](repeating: 1, count: 8 * 1024)), session: nil, completion: { _ in })
            count += 1
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(disk.isReached, "the store must be at its background work")
        let late = try await fetch(50)
        guard case .success(let batches)? = late else {
            Issue.record("\(String(describing: late))")
            return
        }
        #expect(batches.bytes.isEmpty)
    }
}
