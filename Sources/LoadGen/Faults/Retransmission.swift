// When a kernel sends again what was lost, as arithmetic: the fault proxy has no packets to lose, so that a stream
// which met a cut or a loss goes on when a real one would. Doubling pauses of Linux and RFC 6298.

enum Retransmission {
    /// Of a stream on a near link: Linux's TCP_RTO_MIN.
    static let streamNanoseconds: UInt64 = 200_000_000
    /// Of a connection's first packet (RFC 6298, §2).
    static let connectNanoseconds: UInt64 = 1_000_000_000
    /// Pauses double up to this (Linux's TCP_RTO_MAX).
    static let pauseNanosecondsMax: UInt64 = 120_000_000_000

    /// The first moment, not before `now`, at which a kernel sends again what it first sent at `lost`: after one pause,
    /// then after twice that, and so on.
    static func next(ofLoss lost: UInt64, firstPause: UInt64, notBefore now: UInt64) -> UInt64 {
        var pause = firstPause
        var moment = lost + pause
        while moment < now {
            pause = min(pause * 2, pauseNanosecondsMax)
            moment += pause
        }
        return moment
    }
}
