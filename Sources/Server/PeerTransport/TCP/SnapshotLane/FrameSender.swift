// The sending end of the snapshot lane: a bounded queue in front of a thread that writes. A piece goes from the memory
// into which it was read straight to the socket; through an event loop it would be copied once more and wake one more
// thread.
import Foundation
import Synchronization

final class FrameSender: @unchecked Sendable {
    // Unchecked: everything that changes is touched only while `condition` is locked.
    private let condition = NSCondition()
    private let socket: FrameSocket
    private let waitingBytesMax: Int
    private var queue: [[UInt8]] = []
    private var waitingBytes = 0
    /// Bytes of the first frame that are written.
    private var sent = 0
    private var hasEnded = false
    private var droppedCount: UInt64 = 0

    /// - Parameter ended: called once, when nothing more can be written; on the thread that writes.
    init(_ socket: FrameSocket, name: String, waitingBytesMax: Int, ended: @escaping @Sendable () -> Void) {
        self.socket = socket
        self.waitingBytesMax = waitingBytesMax
        _ = WorkerThread(name: name, niceness: WorkerThread.bulkNiceness) { [self] in
            loop()
            ended()
        }
    }

    var dropped: UInt64 {
        condition.lock()
        defer { condition.unlock() }
        return droppedCount
    }

    /// Writes a frame where there is room, on the caller's thread, which has it near its processor; queues what is left
    /// of it, or drops it when too much waits. Never waits for the peer.
    func push(_ frame: [UInt8]) {
        condition.lock()
        defer { condition.unlock() }
        guard !hasEnded, waitingBytes + frame.count <= waitingBytesMax else {
            droppedCount += 1
            return
        }
        var done = 0
        if queue.isEmpty {
            // An error shows again where the thread writes.
            done = (try? socket.write(frame, sent: 0, waits: false)) ?? 0
            if done == frame.count + FrameSocket.lengthBytes { return }
        }
        queue.append(frame)
        waitingBytes += frame.count
        if queue.count == 1 {
            sent = done
            condition.signal()
        }
    }

    /// Ends the connection and with it the thread; what waits is lost.
    func stop() {
        condition.lock()
        hasEnded = true
        condition.signal()
        condition.unlock()
        socket.end()
    }

    private func loop() {
        while let (frame, sent) = next() {
            do throws(FrameSocket.Failure) {
                _ = try socket.write(frame, sent: sent, waits: true)
                done(frame)
            } catch {
                stop()
            }
        }
    }

    /// The first frame, which stays in the queue while it is written: nothing may overtake it.
    private func next() -> (frame: [UInt8], sent: Int)? {
        condition.lock()
        defer { condition.unlock() }
        while queue.isEmpty, !hasEnded { condition.wait() }
        return hasEnded ? nil : (queue[0], sent)
    }

    private func done(_ frame: [UInt8]) {
        condition.lock()
        queue.removeFirst()
        waitingBytes -= frame.count
        sent = 0
        condition.unlock()
    }
}
