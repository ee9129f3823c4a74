// A ring and the one thread that owns it. The kernel lets only that thread submit (SINGLE_ISSUER, DEFER_TASKRUN), so
// rings live in thread-local storage and die with their thread. A ring never has requests in flight between two calls:
// whoever submits also waits, and no buffer is given back to its owner while the kernel may still write to it.
import CLiburing
import Glibc
import Synchronization

final class UringRing {
    /// Requests in flight at a time on one ring, at most.
    static let entries = 256
    /// Rings of the process. A thread beyond them uses system calls.
    static let ringsMax = 256

    private static let rings = Atomic<Int>(0)
    /// Set flags that the kernel granted, in words.
    let flags: [String]
    private let ring: UnsafeMutablePointer<io_uring>
    /// Where answers are taken.
    private let answers: UnsafeMutablePointer<UnsafeMutablePointer<io_uring_cqe>?>
    private static let answersMax = 64

    /// - Throws: the errno with which the kernel refused.
    init() throws(UringRefusal) {
        guard Self.rings.add(1, ordering: .relaxed).newValue <= Self.ringsMax else {
            Self.rings.subtract(1, ordering: .relaxed)
            throw UringRefusal(code: EMFILE)
        }
        ring = .allocate(capacity: 1)
        ring.initialize(to: io_uring())
        var refusal = EINVAL
        for attempt in UringProbe.attempts {
            var parameters = io_uring_params()
            parameters.flags = attempt.reduce(0) { $0 | $1.flag }
            refusal = -io_uring_queue_init_params(UInt32(Self.entries), ring, &parameters)
            if refusal == 0 {
                flags = attempt.map(\.name)
                answers = .allocate(capacity: Self.answersMax)
                return
            }
            // EINVAL is an older kernel's word for a flag that it does not know; anything else won't get better.
            if refusal != EINVAL { break }
        }
        ring.deallocate()
        Self.rings.subtract(1, ordering: .relaxed)
        throw UringRefusal(code: refusal)
    }

    deinit {
        io_uring_queue_exit(ring)
        ring.deallocate()
        answers.deallocate()
        Self.rings.subtract(1, ordering: .relaxed)
    }

    /// Performs all requests and returns when every one has ended.
    func perform(
        _ requests: UnsafeMutableBufferPointer<UringRequest>, _ options: UringOptions, _ counters: UringCounters
    ) {
        var fresh = 0
        var again: [Int] = []
        var inFlight = 0
        var enters = 0
        var submissions = 0
        while fresh < requests.count || !again.isEmpty || inFlight > 0 {
            var prepared = 0
            while inFlight < options.inFlightMax, prepared < options.perEnterMax,
                fresh < requests.count || !again.isEmpty, let entry = io_uring_get_sqe(ring)
            {
                let index = again.popLast() ?? fresh
                if index == fresh { fresh += 1 }
                requests[index].prepare(entry)
                entry.pointee.user_data = UInt64(index)
                inFlight += 1
                prepared += 1
            }
            let isLast = fresh == requests.count && again.isEmpty
            let hasRoom = inFlight < options.inFlightMax && !isLast
            // New requests go in as soon as an answer has made room: the device must not wait for this thread.
            enter(isLast ? inFlight : hasRoom || io_uring_cq_ready(ring) > 0 ? 0 : 1)
            enters += 1
            submissions += prepared
            inFlight -= takeAnswers(requests, &again, isLast ? inFlight : options.perEnterMax, counters)
        }
        counters.enters.add(enters, ordering: .relaxed)
        counters.submitted.add(submissions, ordering: .relaxed)
        counters.completed.add(submissions, ordering: .relaxed)
    }

    private func enter(_ waitsFor: Int) {
        let result = io_uring_submit_and_wait(ring, UInt32(waitsFor))
        // Interrupted, or the kernel wants answers taken before it accepts more: the caller's loop does both.
        guard result < 0, ![EINTR, EAGAIN, EBUSY].contains(-result) else { return }
        // The kernel may still write to buffers of requests in flight, so there is no way back to the caller.
        preconditionFailure("io_uring_enter failed with errno \(-result) while requests were in flight")
    }

    /// - Returns: how many requests came back.
    private func takeAnswers(
        _ requests: UnsafeMutableBufferPointer<UringRequest>, _ again: inout [Int], _ countMax: Int,
        _ counters: UringCounters
    ) -> Int {
        var taken = 0
        while taken < countMax {
            let count = Int(io_uring_peek_batch_cqe(ring, answers, UInt32(min(countMax - taken, Self.answersMax))))
            if count == 0 { break }
            for position in 0..<count {
                guard let answer = answers[position] else { preconditionFailure("the ring counted an answer it lacks") }
                let index = Int(answer.pointee.user_data)
                precondition(index < requests.count, "an answer came for a request that nobody made")
                if requests[index].complete(answer.pointee.res, counters) { again.append(index) }
            }
            io_uring_cq_advance(ring, UInt32(count))
            taken += count
        }
        return taken
    }
}

/// The kernel gave no ring.
struct UringRefusal: Error {
    var code: Int32
}

extension UringRing {
    /// Calls `body` with the calling thread's ring, or nil when the thread can't have one. It is made at the first use
    /// and freed when the thread ends.
    static func withCurrent<Result>(_ body: (UringRing?) -> Result) -> Result {
        let slot: Slot
        if let known = pthread_getspecific(key) {
            slot = Unmanaged<Slot>.fromOpaque(known).takeUnretainedValue()
        } else {
            slot = Slot(ring: try? UringRing())
            pthread_setspecific(key, Unmanaged.passRetained(slot).toOpaque())
        }
        return body(slot.ring)
    }

    /// Also remembers that there is none, so that a refusal is met once per thread.
    private final class Slot {
        let ring: UringRing?
        init(ring: UringRing?) { self.ring = ring }
    }

    /// Of the thread-local storage; one for the process.
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        let outcome = pthread_key_create(&key) { slot in
            guard let slot else { return }
            Unmanaged<Slot>.fromOpaque(slot).release()
        }
        precondition(outcome == 0, "a process has thread-local keys left for its one ring key")
        return key
    }()
}
