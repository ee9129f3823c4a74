// What makes a broken way show, and a healed one be used at once: TCP by itself waits twice as long before each further
// try to send, so that after a cut of half a minute a connection may stay unused for as long again (RFC 6298).
package import NIOCore
internal import NIOPosix

/// Options of TCP connections that must not outlive the way they take.
package struct SocketLiveness: Sendable {
    /// An attempt to connect that is not answered by then is given up, and a new one made: the kernel sends the same
    /// attempt again after 1, 2, 4 s and so on.
    package var connectTimeout: TimeAmount
    /// Bytes that the other side has not acknowledged for so long end the connection (`TCP_USER_TIMEOUT`).
    package var unacknowledgedMax: TimeAmount

    package init(connectTimeout: TimeAmount, unacknowledgedMax: TimeAmount) {
        self.connectTimeout = connectTimeout
        self.unacknowledgedMax = unacknowledgedMax
    }

    /// An idle connection is probed after so many seconds, then each second, and ends after so many probes without an
    /// answer.
    static let probeAfterSeconds: CInt = 5
    static let probesMax: CInt = 5
    /// The longest pause before TCP sends again, where the kernel can be told (`TCP_RTO_MAX_MS`, since Linux 6.15).
    static let retransmitMilliseconds: CInt = 1000

    /// Numbers of tcp(7); the C library has no name for the last.
    private enum Number {
        static let keepIdle: CInt = 4
        static let keepInterval: CInt = 5
        static let keepCount: CInt = 6
        static let userTimeout: CInt = 18
        static let retransmitMax: CInt = 44
    }

    /// Sets the options. What a kernel does not know is left out: it costs time after a cut and nothing else.
    ///
    /// Call it on the channel's event loop before it connects, or once it is accepted.
    package func apply(to channel: any Channel) {
        guard let options = channel.syncOptions else { return }
        func set(_ number: CInt, _ value: CInt) {
            try? options.setOption(.tcpOption(.init(rawValue: number)), value: .init(value))
        }
        try? options.setOption(.socketOption(.so_keepalive), value: 1)
        set(Number.keepIdle, Self.probeAfterSeconds)
        set(Number.keepInterval, 1)
        set(Number.keepCount, Self.probesMax)
        set(Number.userTimeout, CInt(clamping: unacknowledgedMax.nanoseconds / 1_000_000))
        set(Number.retransmitMax, Self.retransmitMilliseconds)
    }

    /// As ``apply(to:)``, and ends the attempt to connect in time. For channels that are about to connect.
    package func applyBeforeConnecting(_ channel: any Channel) -> EventLoopFuture<Void> {
        apply(to: channel)
        let loop = channel.eventLoop
        loop.scheduleTask(in: connectTimeout) { if !channel.isActive { channel.close(promise: nil) } }
        return loop.makeSucceededVoidFuture()
    }
}
