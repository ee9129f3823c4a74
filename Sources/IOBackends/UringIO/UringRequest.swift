// One request as the ring sees it: plain numbers and pointers, so that a batch of them is one block of memory. It knows
// how to fill a submission entry and what is left after a short transfer; it never talks to the kernel itself.
import CLiburing
import Glibc
import Synchronization

/// `RWF_DSYNC` of linux/fs.h: the write completes when data and the metadata to read it back are on the device.
private let writeFlagDataSync: Int32 = 0x2

struct UringRequest {
    enum Operation {
        case read, write, vectorWrite, sync
    }

    var operation: Operation
    var descriptor: Int32
    /// The buffer, or the first of `count` vectors.
    var memory: UnsafeMutableRawPointer?
    /// Bytes left to move; for a vector write vectors left.
    var count: Int
    var position: UInt64
    var isDurable = false
    /// Bytes moved so far.
    var moved = 0
    /// errno of the failed request, 0 while there is none.
    var failure: Int32 = 0

    /// Bytes of one transfer: the kernel moves at most `MAX_RW_COUNT`, so larger ones are cut here.
    static let transferBytesMax = 1 << 30

    func prepare(_ entry: UnsafeMutablePointer<io_uring_sqe>) {
        switch operation {
        case .read:
            io_uring_prep_read(entry, descriptor, memory, UInt32(min(count, Self.transferBytesMax)), position)
        case .write:
            io_uring_prep_write(entry, descriptor, memory, UInt32(min(count, Self.transferBytesMax)), position)
        case .vectorWrite:
            let vectors = memory?.assumingMemoryBound(to: iovec.self)
            io_uring_prep_writev(entry, descriptor, vectors, UInt32(count), position)
        case .sync:
            io_uring_prep_fsync(entry, descriptor, UInt32(IORING_FSYNC_DATASYNC))
        }
        if isDurable { entry.pointee.rw_flags = writeFlagDataSync }
    }

    /// Takes the kernel's answer.
    /// - Returns: true when the request has to be submitted again: interrupted, or a part is left.
    mutating func complete(_ result: Int32, _ counters: UringCounters) -> Bool {
        if result == -EINTR || result == -EAGAIN {
            counters.retries.add(1, ordering: .relaxed)
            return true
        }
        guard result >= 0 else {
            failure = -result
            return false
        }
        guard operation != .sync else { return false }
        moved += Int(result)
        position += UInt64(result)
        advance(by: Int(result))
        // A read of nothing is the end of the file.
        if count == 0 || (operation == .read && result == 0) { return false }
        guard result > 0 else {
            failure = EIO
            return false
        }
        counters.shortTransfers.add(1, ordering: .relaxed)
        return true
    }

    private mutating func advance(by bytes: Int) {
        guard operation == .vectorWrite else {
            memory = memory.map { $0 + bytes }
            count -= bytes
            return
        }
        var rest = bytes
        while rest > 0, let vector = memory?.assumingMemoryBound(to: iovec.self) {
            let length = vector.pointee.iov_len
            guard rest >= length else {
                vector.pointee.iov_base += rest
                vector.pointee.iov_len = length - rest
                return
            }
            rest -= length
            memory = UnsafeMutableRawPointer(vector + 1)
            count -= 1
        }
    }
}
