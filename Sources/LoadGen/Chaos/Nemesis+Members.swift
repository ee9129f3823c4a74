// Members that go and come under load: a node is removed, whether it lives or not, its folder is wiped, and it asks to
// be added as the new member that it is then. Ends when it votes in every group again.
import Foundation
import LabKit

extension Nemesis {
    func replace(_ victim: Int, _ step: ChaosStep) throws(LoadGenError) -> String? {
        let name = cluster.nodes[victim].name
        cluster.nodes[victim].isDisturbed = true
        if step.target == .follower { _ = cluster.kill(victim) }
        try untilTrue("\(name) is removed") {
            ask("DELETE", "/cluster/members/\(name)", except: victim)
                || members(except: victim)?.members.contains { $0.name == name } == false
        }
        // A member that lives learns of it, hands over and ends.
        _ = cluster.nodes[victim].process?.waitForExit(seconds: EmbeddedCluster.stopSeconds)
        _ = cluster.kill(victim)
        do {
            try FileManager.default.removeItem(atPath: cluster.nodes[victim].dataFolder)
        } catch {
            throw LoadGenError.cluster("can't wipe \(name): \(error)")
        }
        try hold(step.seconds)
        cluster.nodes[victim].joins = true
        try cluster.start(victim)
        cluster.nodes[victim].isDisturbed = true
        let from = MonotonicClock.now()
        try untilTrue("\(name) is added") {
            guard let known = members(except: victim) else { return false }
            if known.members.contains(where: { $0.name == name }) { return true }
            guard known.applicants.contains(name) else { return false }
            return ask("POST", "/cluster/members", json: "{\"name\":\"\(name)\"}", except: victim)
        }
        try untilTrue("\(name) votes in every group") {
            guard let known = members(except: victim) else { return false }
            return known.members.first { $0.name == name }?.votesIn == known.groups.count
        }
        let seconds = MonotonicClock.seconds(from: from, to: MonotonicClock.now())
        return "a new member votes after \(NumberText.fixed(seconds, 1)) s"
    }

    private func members(except victim: Int) -> MembersReport? {
        let others = cluster.nodes.indices.filter { $0 != victim }
        return others.lazy.compactMap { cluster.nodes[$0].probe.members() }.first
    }

    /// True when one of the others takes it.
    private func ask(_ method: String, _ path: String, json: String = "", except victim: Int) -> Bool {
        let others = cluster.nodes.indices.filter { $0 != victim }
        return others.contains { cluster.nodes[$0].probe.ask(method, path, json: json, seconds: 2) != nil }
    }

    private func untilTrue(_ what: String, _ isTrue: () -> Bool) throws(LoadGenError) {
        let deadline = MonotonicClock.now() + UInt64(Nemesis.recoverySeconds * 1e9)
        while !isTrue() {
            guard MonotonicClock.now() < deadline else {
                throw LoadGenError.cluster(
                    "not within \(NumberText.fixed(Nemesis.recoverySeconds, 0)) s: \(what)\n" + cluster.logTails())
            }
            try hold(0.05)
        }
    }
}
