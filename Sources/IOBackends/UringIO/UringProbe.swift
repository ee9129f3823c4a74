// Asks the running kernel whether io_uring is to be had, by setting up a small ring and sending one request through it.
// It does no file I/O and leaves nothing behind; it must never claim a feature that the kernel did not grant.
import CLiburing

/// What the running kernel offers of io_uring.
public enum UringProbe: Sendable, Hashable, CustomStringConvertible {
    /// A ring was set up and answered.
    case available(flags: [String], features: [String])
    /// One line: why there is none.
    case unavailable(String)

    /// Submission entries of the ring that is tried.
    private static let entries: UInt32 = 8

    /// Sets of setup flags to try, best first: newer kernels save interrupts and locks when one thread owns the ring
    /// (SINGLE_ISSUER since Linux 6.0, DEFER_TASKRUN since 6.1).
    static let attempts: [[(name: String, flag: UInt32)]] = [
        [("SINGLE_ISSUER", IORING_SETUP_SINGLE_ISSUER), ("DEFER_TASKRUN", IORING_SETUP_DEFER_TASKRUN)],
        [("SINGLE_ISSUER", IORING_SETUP_SINGLE_ISSUER)],
        [("COOP_TASKRUN", IORING_SETUP_COOP_TASKRUN)],
        [],
    ]

    private static let featureNames: [(name: String, flag: UInt32)] = [
        ("NODROP", IORING_FEAT_NODROP), ("SUBMIT_STABLE", IORING_FEAT_SUBMIT_STABLE),
        ("FAST_POLL", IORING_FEAT_FAST_POLL), ("EXT_ARG", IORING_FEAT_EXT_ARG),
        ("NATIVE_WORKERS", IORING_FEAT_NATIVE_WORKERS), ("RSRC_TAGS", IORING_FEAT_RSRC_TAGS),
        ("CQE_SKIP", IORING_FEAT_CQE_SKIP), ("LINKED_FILE", IORING_FEAT_LINKED_FILE),
    ]

    /// Probes now. Takes microseconds; call it on a thread that may block.
    public static func run() -> UringProbe {
        var refusal: Int32 = 0
        for flags in attempts {
            var ring = io_uring()
            var parameters = io_uring_params()
            parameters.flags = flags.reduce(0) { $0 | $1.flag }
            let result = io_uring_queue_init_params(entries, &ring, &parameters)
            if result == 0 {
                defer { io_uring_queue_exit(&ring) }
                if let failure = roundTrip(&ring) { return .unavailable(failure) }
                let features = featureNames.filter { parameters.features & $0.flag != 0 }
                return .available(flags: flags.map(\.name), features: features.map(\.name))
            }
            refusal = -result
            // EINVAL is an older kernel's word for a flag that it does not know; anything else won't get better.
            if refusal != EINVAL { break }
        }
        return .unavailable(reason(refusal))
    }

    /// Sends one empty request through the ring; nil when it came back.
    private static func roundTrip(_ ring: inout io_uring) -> String? {
        guard let entry = io_uring_get_sqe(&ring) else { return "a new ring has no room for a request" }
        io_uring_prep_nop(entry)
        let submitted = io_uring_submit(&ring)
        guard submitted == 1 else { return "the ring took no request: \(reason(submitted < 0 ? -submitted : EIO))" }
        var completion: UnsafeMutablePointer<io_uring_cqe>?
        let waited = io_uring_wait_cqe(&ring, &completion)
        guard waited == 0, let completion else { return "the ring gave no answer: \(reason(-waited))" }
        io_uring_cqe_seen(&ring, completion)
        return nil
    }

    private static func reason(_ code: Int32) -> String {
        switch code {
        case ENOSYS: "the kernel has no io_uring (Linux 5.1 or later is needed)"
        case EPERM, EACCES: "io_uring is forbidden here (sysctl kernel.io_uring_disabled, or a seccomp filter)"
        case ENOMEM: "the limit on locked memory is too low for a ring (ulimit -l)"
        default: "io_uring_setup failed with errno \(code)"
        }
    }

    public var description: String {
        switch self {
        case .available(let flags, let features):
            "io_uring is available; flags: \(Self.joined(flags)); features: \(Self.joined(features))"
        case .unavailable(let reason):
            "io_uring is not available: \(reason)"
        }
    }

    private static func joined(_ names: [String]) -> String {
        names.isEmpty ? "none" : names.joined(separator: " ")
    }
}
