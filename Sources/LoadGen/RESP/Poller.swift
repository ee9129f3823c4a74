// Waits for many sockets at once with pselect(2): it is what Swift imports of the calls whose timeout is finer than a
// millisecond (ppoll and epoll are not imported), and a scan over some hundred sockets costs less than a wake-up.
import Glibc
import LabKit

/// Owned by one thread. Slots are numbered from 0; a slot without a socket is skipped.
struct Poller: ~Copyable {
    private struct Slot {
        var descriptor: Int32 = -1
        var wantsWrite = false
    }

    /// Sets of descriptors as the kernel reads them: one bit each. Larger than `fd_set`, which the kernel allows: it
    /// reads as many bits as it is told.
    private struct Bits: ~Copyable {
        let words: UnsafeMutableBufferPointer<UInt64>

        init(descriptors: Int) {
            words = .allocate(capacity: max((descriptors + 63) / 64, MemoryLayout<fd_set>.size / 8))
            clear()
        }

        deinit { words.deallocate() }

        func clear() { words.initialize(repeating: 0) }

        func insert(_ descriptor: Int32) { words[Int(descriptor) / 64] |= 1 << UInt64(descriptor % 64) }

        func contains(_ descriptor: Int32) -> Bool { words[Int(descriptor) / 64] & 1 << UInt64(descriptor % 64) != 0 }

        var pointer: UnsafeMutablePointer<fd_set> {
            UnsafeMutableRawPointer(words.baseAddress!).assumingMemoryBound(to: fd_set.self)
        }
    }

    private let slots: UnsafeMutableBufferPointer<Slot>
    private let readable: Bits
    private let writable: Bits
    /// Sockets whose descriptor is higher are refused by `watch`.
    static let descriptorMax: Int32 = 65_535

    init(slots count: Int) {
        slots = .allocate(capacity: count)
        slots.initialize(repeating: Slot())
        readable = Bits(descriptors: Int(Poller.descriptorMax) + 1)
        writable = Bits(descriptors: Int(Poller.descriptorMax) + 1)
    }

    deinit {
        slots.deallocate()
    }

    /// Watches a socket in a slot, for reading or for both.
    func watch(_ slot: Int, _ descriptor: Int32, wantsWrite: Bool) {
        precondition((0...Poller.descriptorMax).contains(descriptor), "a load needs fewer than 65 536 sockets")
        slots[slot] = Slot(descriptor: descriptor, wantsWrite: wantsWrite)
    }

    func forget(_ slot: Int) {
        slots[slot] = Slot()
    }

    /// Blocks until a watched socket is ready (or broken) or `deadline` has come, in nanoseconds of MonotonicClock.
    /// - Returns: whether any is ready; ask `isReady` which.
    func wait(until deadline: UInt64) -> Bool {
        var highest: Int32 = -1
        for slot in slots { highest = max(highest, slot.descriptor) }
        let words = Int(highest + 64) / 64
        for word in 0..<words {
            readable.words[word] = 0
            writable.words[word] = 0
        }
        for slot in slots where slot.descriptor >= 0 {
            readable.insert(slot.descriptor)
            if slot.wantsWrite { writable.insert(slot.descriptor) }
        }
        let now = MonotonicClock.now()
        let rest = deadline > now ? deadline - now : 0
        var timeout = timespec(tv_sec: Int(rest / 1_000_000_000), tv_nsec: Int(rest % 1_000_000_000))
        let count = pselect(highest + 1, readable.pointer, writable.pointer, nil, &timeout, nil)
        if count > 0 { return true }
        // Nothing is ready, or a signal came: the sets are not valid.
        readable.clear()
        writable.clear()
        return false
    }

    /// After `wait`: whether the slot's socket can be read, written or is broken.
    func isReady(_ slot: Int) -> Bool {
        let descriptor = slots[slot].descriptor
        return descriptor >= 0 && (readable.contains(descriptor) || writable.contains(descriptor))
    }
}
