// A connected socket that has left the event loop: from here on threads of its own read or write whole frames, straight
// from and to the memory in which the pieces of files live. It must never be closed while a thread is in a call on it,
// so the descriptor goes with the last reference; ending is a shutdown, which wakes both sides.
import Glibc
import NIOCore

/// Blocking frames over a stream socket. One thread may read while another writes.
final class FrameSocket: Sendable {
    /// Before every frame: how long it is, in little endian.
    static let lengthBytes = 4

    private let descriptor: Int32

    struct Failure: Error, CustomStringConvertible {
        var description: String
        fileprivate init(_ call: String, _ code: Int32) { description = "\(call): \(String(cString: strerror(code)))" }
        init(_ description: String) { self.description = description }
    }

    /// - Parameter descriptor: a connected stream socket; it is closed with the last reference to this object.
    init(owning descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Takes the connection away from its channel, which is closed without the peer noticing. What the channel has read
    /// is lost here, what it has been given to write must be written. Call it on the channel's event loop.
    static func take(from channel: any Channel) throws -> FrameSocket {
        let copy = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
            fcntl($0, F_DUPFD_CLOEXEC, 0)
        }
        guard let copy, copy >= 0 else { throw Failure("dup", errno) }
        let socket = FrameSocket(owning: copy)
        // First closed, then made blocking: both descriptors share that property.
        channel.close(promise: nil)
        let flags = fcntl(copy, F_GETFL)
        guard flags >= 0, fcntl(copy, F_SETFL, flags & ~O_NONBLOCK) == 0 else { throw Failure("fcntl", errno) }
        socket.dontPaceNearPeer()
        return socket
    }

    /// A peer that answers within this is on this machine or in the same rack. Microseconds.
    private static let nearRoundTripMax: UInt32 = 1_000

    /// BBR paces: it programs a timer for every segment or two, in a virtual machine an exit to the host each. Where a
    /// round trip is this short the lane's window alone spaces what is sent, so such a connection gets the kernel's
    /// usual congestion control. Every other choice of the administrator stays, and a refusal costs speed only.
    func dontPaceNearPeer() {
        guard congestionControl.hasPrefix("bbr"), let roundTrip, roundTrip <= Self.nearRoundTripMax else { return }
        congestionControl = "cubic"
    }

    /// Of the sending side, by the kernel's name (tcp(7)); empty where there is none.
    var congestionControl: String {
        get {
            var name = [CChar](repeating: 0, count: 16)  // TCP_CA_NAME_MAX
            var count = socklen_t(name.count)
            guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, &count) == 0 else { return "" }
            return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        set {
            _ = newValue.withCString {
                setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, $0, socklen_t(strlen($0)))
            }
        }
    }

    /// Smoothed, in microseconds; nil where the kernel doesn't measure it.
    private var roundTrip: UInt32? {
        var info = tcp_info()
        var count = socklen_t(MemoryLayout<tcp_info>.size)
        guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &count) == 0 else { return nil }
        return info.tcpi_rtt
    }

    deinit { close(descriptor) }

    /// Wakes whoever waits in a call, here and at the peer; every later call fails.
    func end() {
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Fills `buffer`, waiting for the peer as long as it is there. False: the stream has ended.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(Failure) -> Bool {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = recv(descriptor, rest.baseAddress, rest.count, Int32(MSG_WAITALL))
            if count == 0 { return false }
            if count < 0 {
                if errno == EINTR { continue }
                throw Failure("recv", errno)
            }
            done += count
        }
        return true
    }

    /// Writes a frame of which `sent` bytes are written, its length among them, and says how many are now.
    /// - Parameter waits: false: only as much as there is room for.
    func write(_ frame: [UInt8], sent: Int, waits: Bool) throws(Failure) -> Int {
        let head = withUnsafeBytes(of: UInt32(frame.count).littleEndian) { [UInt8]($0) }
        let flags = Int32(MSG_NOSIGNAL) | (waits ? 0 : Int32(MSG_DONTWAIT))
        var done = sent
        while done < head.count + frame.count {
            let count = head.withUnsafeBytes { head in
                frame.withUnsafeBytes { body in
                    send(
                        UnsafeRawBufferPointer(rebasing: head[min(done, head.count)...]),
                        UnsafeRawBufferPointer(rebasing: body[max(0, done - head.count)...]), flags)
                }
            }
            if count < 0 {
                if errno == EINTR { continue }
                if !waits, errno == EAGAIN || errno == EWOULDBLOCK { break }
                throw Failure("sendmsg", errno)
            }
            done += count
            if !waits { break }
        }
        return done
    }

    private func send(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, _ flags: Int32) -> Int {
        var parts = [
            iovec(iov_base: UnsafeMutableRawPointer(mutating: head.baseAddress), iov_len: head.count),
            iovec(iov_base: UnsafeMutableRawPointer(mutating: body.baseAddress), iov_len: body.count),
        ]
        return parts.withUnsafeMutableBufferPointer { parts in
            var message = msghdr()
            message.msg_iov = parts.baseAddress
            message.msg_iovlen = parts.count
            return sendmsg(descriptor, &message, flags)
        }
    }
}
