// A core as 128 bits, under other names of the nodes, for searches through all states of a small world. Two cores must
// get the same bits exactly when no input could tell them apart: what is read again only after it was set anew (a
// follower's knowledge of others, the answers to a candidacy that is over, timers after `forgetTime`) stays out.

/// Two independent 64-bit mixes: one in 10^26 pairs of states is taken for one.
package struct Fingerprint: Hashable, Sendable {
    package private(set) var low: UInt64 = 0x243F_6A88_85A3_08D3
    package private(set) var high: UInt64 = 0x1319_8A2E_0370_7344

    package init() {}

    package mutating func add(_ value: UInt64) {
        low = (low ^ value) &* 0x9FB2_1C65_1E98_DF25
        low ^= low >> 32
        high = (high &+ value) &* 0xD6E8_FEB8_6659_FD93
        high ^= high >> 29
    }

    /// Adds one member of a set: the order of the members makes no difference to the sum.
    package mutating func sum(_ member: Fingerprint) {
        low = low &+ member.low
        high = high &+ member.high
    }

    package static func < (a: Fingerprint, b: Fingerprint) -> Bool {
        a.high != b.high ? a.high < b.high : a.low < b.low
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(low) }
}

extension RaftCore {
    /// `names[n]` stands for the node `n`, `names[0]` for nobody. For cores without lease reads, sleep and snapshots.
    package func add(to print: inout Fingerprint, names: [UInt64]) {
        func name(_ node: NodeID?) -> UInt64 { node.map { names[Int($0.rawValue)] } ?? 0 }
        func set(_ nodes: [NodeID]) -> UInt64 { nodes.reduce(0) { $0 | 1 << name($1) } }
        print.add(term << 8 | name(vote) << 4 | name(leader))
        print.add(UInt64(role.rawValue) << 32 | UInt64(stallTicksLeft))
        print.add(log.base.index << 32 | log.lastIndex)
        for start in log.starts { print.add(start.index << 32 | start.term) }
        print.add(commitIndex << 40 | appliedIndex << 20 | durableIndex)
        durableHardState.add(to: &print, names)
        print.add(emittedCommit << 32 | durableCommit)
        if let order = heldOrder { print.add(order.index << 32 | order.logTerm) }
        if let way = recovery {
            print.add(way.number | (way.isMarked ? 1 : 0))
            print.add((way.target ?? 0) << 32 | way.matched)
            print.add(UInt64(way.leaderlessTicks))
        }
        print.add(durableHardState.term < truncationTerm ? truncationTerm : 0)
        print.add(set(configuration.voters) << 40 | set(configuration.outgoing) << 20 | set(configuration.learners))
        print.add(set(configuration.learnersNext) << 1 | (configuration.leavesAutomatically ? 1 : 0))
        for index in configurationEntries { print.add(index) }
        if role == .follower && reads.count == 0 { return }
        if role == .leader {
            print.add(leadershipStart << 40 | configurationBarrier << 8 | name(transferTarget))
            print.add(reads.newestSequence << 40 | reads.sentSequence << 20 | reads.confirmedSequence)
        }
        for list in [reads.waiting, reads.unconfirmed] {
            print.add(UInt64(list.count))
            for read in list {
                print.add(read.context << 32 | name(read.from))
                print.add(read.index << 32 | read.sequence)
            }
        }
        for read in reads.forwarded { print.add(read.context << 32 | UInt64(read.age)) }
        for member in progress {
            var one = Fingerprint()
            one.add(name(member.id) << 8 | UInt64(role == .leader ? 0 : member.answer.rawValue))
            if role == .leader {
                let flags = [
                    member.isVoter, member.isWaiting, member.awaitsEntries, member.recentActive, member.mayResend,
                ]
                one.add(flags.reduce(UInt64(member.state.rawValue)) { $0 << 1 | ($1 ? 1 : 0) })
                one.add(member.match << 40 | member.next << 20 | member.sentCommit)
                one.add(member.readAck)
                one.add(member.context)
                one.add(member.recoveryTarget)
            }
            print.sum(one)
        }
    }
}

extension HardState {
    package func add(to print: inout Fingerprint, _ names: [UInt64]) {
        print.add(term << 8 | (vote.map { names[Int($0.rawValue)] } ?? 0) << 1 | (isRecovering ? 1 : 0))
        print.add(commit)
    }
}

extension Message {
    package func add(to print: inout Fingerprint, names: [UInt64]) {
        let link = UInt64(kind.rawValue) << 16 | names[Int(from.rawValue)] << 8 | names[Int(to.rawValue)]
        print.add(link << 2 | (reject ? 2 : 0) | (force ? 1 : 0))
        print.add(term << 48 | logTerm << 32 | index << 16 | commit)
        print.add(rejectHint << 32 | context)
        for entry in entries { entry.add(to: &print) }
    }
}

extension EntryHeader {
    package func add(to print: inout Fingerprint) {
        print.add(index << 40 | term << 20 | UInt64(kind.rawValue) << 16 | UInt64(byteCount))
    }
}
