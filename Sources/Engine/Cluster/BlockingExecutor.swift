// Where work that may block on a disk runs, so that the host's thread and the cooperative pool never do.

/// Runs closures on threads that may block. Bounded in threads; the order between closures is not kept.
public protocol BlockingExecutor: AnyObject, Sendable {
    func run(_ work: @escaping @Sendable () -> Void)

    /// As ``run(_:)``, unless too much waits already: then `work` is not run and the answer is false.
    func offer(_ work: @escaping @Sendable () -> Void) -> Bool
}

extension BlockingExecutor {
    public func offer(_ work: @escaping @Sendable () -> Void) -> Bool {
        run(work)
        return true
    }
}

extension RequestError {
    /// What a request is answered that ``BlockingExecutor/offer(_:)`` did not take.
    public static let tooManyReads = RequestError.unavailable("too many reads wait for this node's disk; slow down")
}
