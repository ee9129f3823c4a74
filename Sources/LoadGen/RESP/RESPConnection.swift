// One non-blocking connection that speaks the Redis protocol: bytes out, replies in. Knows nothing of operations, keys
// or clocks; it must not block and must not allocate once its buffers have their size.
import Glibc

/// Owned by one event loop thread; not for sharing.
final class RESPConnection {
    enum State {
        case closed, connecting, open
    }

    private(set) var state = State.closed
    private(set) var descriptor: Int32 = -1
    private var outgoing: UnsafeMutableRawBufferPointer
    private var outgoingStart = 0
    private var outgoingEnd = 0
    private var incoming: UnsafeMutableRawBufferPointer
    private var incomingStart = 0
    private var incomingEnd = 0

    static let incomingBytesMax = RESPParser.bulkBytesMax + RESPParser.lineBytesMax

    /// - Parameter requestBytesMax: the largest request that will be written; the outgoing buffer holds one.
    init(requestBytesMax: Int, incomingBytes: Int = 4096) {
        outgoing = .allocate(byteCount: requestBytesMax, alignment: 16)
        incoming = .allocate(byteCount: incomingBytes, alignment: 16)
    }

    deinit {
        close()
        outgoing.deallocate()
        incoming.deallocate()
    }

    /// Begins to connect. False when that failed at once; errno says why.
    func connect(to address: SocketAddress) -> Bool {
        close()
        descriptor = address.beginConnect()
        state = descriptor >= 0 ? .connecting : .closed
        return descriptor >= 0
    }

    /// Called when a connecting socket became writable. False when the connection could not be made.
    func finishConnecting() -> Bool {
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0, code == 0 else {
            close()
            return false
        }
        state = .open
        return true
    }

    func close() {
        if descriptor >= 0 {
            Glibc.close(descriptor)
        }
        descriptor = -1
        state = .closed
        outgoingStart = 0
        outgoingEnd = 0
        incomingStart = 0
        incomingEnd = 0
    }

    var hasUnsentBytes: Bool { outgoingStart < outgoingEnd }

    /// Lets `write` put one request into the empty outgoing buffer; it returns how many bytes it wrote.
    func compose(_ write: (UnsafeMutableRawBufferPointer) -> Int) {
        precondition(!hasUnsentBytes, "one request at a time: the last one is not sent yet")
        outgoingStart = 0
        outgoingEnd = write(outgoing)
    }

    /// Sends what the socket takes. False when the connection is broken.
    func flush() -> Bool {
        while outgoingStart < outgoingEnd {
            let count = send(
                descriptor, outgoing.baseAddress! + outgoingStart, outgoingEnd - outgoingStart,
                Int32(MSG_NOSIGNAL))
            if count < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN
            }
            outgoingStart += count
        }
        return true
    }

    /// Reads once. False when the peer closed or the connection is broken.
    func receive() -> Bool {
        makeRoom()
        while true {
            let count = recv(descriptor, incoming.baseAddress! + incomingEnd, incoming.count - incomingEnd, 0)
            if count > 0 {
                incomingEnd += count
                return true
            }
            if count < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN
            }
            return false
        }
    }

    /// The next reply among the received bytes. The caller passes a reply to `consume` when it is done with it.
    func nextReply() -> RESPParse {
        RESPParser.parse(UnsafeRawBufferPointer(rebasing: incoming[incomingStart..<incomingEnd]))
    }

    func consume(_ reply: RESPReply) {
        incomingStart += reply.byteCount
        if incomingStart == incomingEnd {
            incomingStart = 0
            incomingEnd = 0
        }
    }

    private func makeRoom() {
        if incomingEnd < incoming.count { return }
        let unread = incomingEnd - incomingStart
        if incomingStart > 0 {
            incoming.baseAddress!.copyMemory(from: incoming.baseAddress! + incomingStart, byteCount: unread)
        } else {
            precondition(incoming.count < RESPConnection.incomingBytesMax, "the parser bounds a reply below the buffer")
            let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: incoming.count * 2, alignment: 16)
            larger.baseAddress!.copyMemory(from: incoming.baseAddress!, byteCount: unread)
            incoming.deallocate()
            incoming = larger
        }
        incomingStart = 0
        incomingEnd = unread
    }
}
