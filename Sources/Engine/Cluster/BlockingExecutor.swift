// Where work that may block on a disk runs, so that the host's thread and the cooperative pool never do.

/// Runs closures on threads that may block. Bounded in threads; the order between closures is not kept.
public protocol BlockingExecutor: AnyObject, Sendable {
    func run(_ work: @escaping @Sendable () -> Void)
}
