// What happens to bytes on their way from one node to another, and how many they were.
import LabKit
import Synchronization

/// How a link is cut.
enum LinkCut: Hashable, Sendable {
    /// Bytes wait and arrive at the moment of healing: kinder than a network.
    case held
    /// A network that drops packets: nothing is closed, nothing is acknowledged, attempts to connect hang, and what met
    /// the cut goes on when the sender's kernel sends it again, which after a long cut is long after the healing.
    case blackHole
    /// Connections end at once, and none can be made.
    case closed
}

/// What happens to bytes on their way from one node to another.
struct LinkRules: Hashable, Sendable {
    /// Nothing arrives, and no connection can be made while either direction is cut.
    var cut: LinkCut?
    var delayNanoseconds: UInt64 = 0
    /// The delay of each piece is up to this much longer or shorter.
    var jitterNanoseconds: UInt64 = 0
    /// Of a million pieces of up to 64 KiB, how many are lost: the stream stands still until they would have been sent
    /// again, one round trip and ``retransmissionNanoseconds`` later.
    var lossPerMillion = 0
    /// Of a million pieces of up to 64 KiB, how many break the connection that they are on.
    var resetsPerMillion = 0

    var isCut: Bool { cut != nil }
    /// How much longer a lost piece takes.
    var lossNanoseconds: UInt64 { 2 * delayNanoseconds + Self.retransmissionNanoseconds }

    /// The shortest time after which a kernel sends again: Linux's TCP_RTO_MIN.
    static let retransmissionNanoseconds: UInt64 = 200_000_000

    /// How long a piece is on its way, unless those before it take longer.
    func delay(_ random: inout SeededRandom) -> UInt64 {
        var delay = delayNanoseconds
        if jitterNanoseconds > 0 {
            let late = delay + UInt64(random.below(Int(clamping: 2 * jitterNanoseconds + 1)))
            delay = late - min(jitterNanoseconds, late)
        }
        if lossPerMillion > 0, random.below(1_000_000) < lossPerMillion { delay += lossNanoseconds }
        return delay
    }
}

/// Bytes that each node has sent to each other one.
final class LinkBytes: Sendable {
    private let counts: Mutex<[[UInt64]]>

    init(nodes: Int) {
        counts = Mutex(Array(repeating: Array(repeating: 0, count: nodes), count: nodes))
    }

    func add(_ count: Int, from: Int, to: Int) {
        counts.withLock { $0[from][to] += UInt64(count) }
    }

    /// By sender, then receiver.
    var current: [[UInt64]] { counts.withLock { $0 } }
}
