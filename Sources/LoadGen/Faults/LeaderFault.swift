// What a trial of a failover does to the leader, and how it is undone. Every fault here hits one node that is alive and
// can be undone within a bound; what an embedded cluster can't do to its processes does not belong here.
import Foundation
import Glibc
import LabKit

enum LeaderFault: String, Hashable, Sendable, CaseIterable {
    /// SIGKILL; its sockets close, and clients and peers know at once.
    case kill
    /// SIGSTOP; its sockets stay open and silent.
    case pause
    /// Cut off from its peers; clients still reach it.
    case partition
    /// It hears none of its peers, and they hear it.
    case partitionIn = "partition-in"
    /// None of its peers hears it, and it hears them.
    case partitionOut = "partition-out"
    /// SIGTERM.
    case graceful
    /// Its disk takes no write and no sync any more, without an error.
    case diskStall = "disk-stall"

    var needsPartitions: Bool {
        switch self {
        case .partition, .partitionIn, .partitionOut: true
        case .kill, .pause, .graceful, .diskStall: false
        }
    }

    /// What the servers' disks must be able to do.
    var diskFaults: [String] { self == .diskStall ? ["disk-control"] : [] }

    /// Whether the node stays a member whose word about the leader counts.
    var leavesNodeTalking: Bool {
        switch self {
        case .kill, .pause, .graceful: false
        case .partition, .partitionIn, .partitionOut, .diskStall: true
        }
    }

    /// In the words of a report.
    var deed: String {
        switch self {
        case .kill: "killed"
        case .pause: "paused"
        case .partition: "cut off"
        case .partitionIn: "made deaf"
        case .partitionOut: "made mute"
        case .graceful: "told to stop"
        case .diskStall: "left with a stalled disk"
        }
    }
}

extension EmbeddedCluster {
    /// Does it.
    /// - Returns: when, just before.
    func inject(_ fault: LeaderFault, at index: Int) throws(LoadGenError) -> UInt64 {
        if fault == .kill { return kill(index) }
        let now = MonotonicClock.now()
        switch fault {
        case .kill: break
        case .pause: pause(index)
        case .partition: try network.isolate(index, of: nodes.count)
        case .partitionIn: try network.isolate(index, of: nodes.count, outgoing: false)
        case .partitionOut: try network.isolate(index, of: nodes.count, incoming: false)
        case .graceful:
            nodes[index].isDisturbed = true
            nodes[index].process?.send(SIGTERM)
        case .diskStall: try order("stall", at: index)
        }
        return now
    }

    /// Undoes it: the node is there again, though it may have a lot to catch up on.
    func undo(_ fault: LeaderFault, at index: Int) throws(LoadGenError) {
        switch fault {
        case .kill: try start(index)
        case .pause: resume(index)
        case .partition, .partitionIn, .partitionOut: try network.heal()
        case .graceful:
            let ended = nodes[index].process?.waitForExit(seconds: EmbeddedCluster.stopSeconds) ?? true
            guard ended else {
                throw LoadGenError.cluster("\(nodes[index].name) did not end within its time after SIGTERM")
            }
            nodes[index].process = nil
            try start(index)
        case .diskStall: try order(nil, at: index)
        }
    }

    /// SIGSTOP. The node is not asked anything until ``resume(_:)``.
    func pause(_ index: Int) {
        nodes[index].isDisturbed = true
        nodes[index].process?.send(SIGSTOP)
    }

    func resume(_ index: Int) {
        nodes[index].process?.send(SIGCONT)
        nodes[index].isDisturbed = false
    }

    /// Tells a node's disk, which was started with `--fault disk-control`, what to do; nil for its best.
    func order(_ word: String?, at index: Int) throws(LoadGenError) {
        let path = nodes[index].dataFolder + "/disk-control"
        guard let word else {
            unlink(path)
            return
        }
        do {
            // Atomic, so that no node reads half a word.
            try Data(word.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw LoadGenError.failed("can't write \(path): \(error)")
        }
    }
}
