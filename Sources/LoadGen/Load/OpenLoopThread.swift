// An open loop on a thread of its own, for as long as somebody disturbs the cluster meanwhile.
import LabKit
import Synchronization

/// Exactly one ``finish()`` must follow the start.
struct OpenLoopThread: ~Copyable {
    private let control: OpenLoopControl
    private let outcome: Outcome
    private let thread: WorkerThread

    private final class Outcome: Sendable {
        let value = Mutex<Result<OpenLoopOutcome, LoadGenError>?>(nil)
    }

    init(_ plan: OpenLoopPlan, codec: KeyValueCodec, control: OpenLoopControl, live: LiveCounters) {
        self.control = control
        let outcome = Outcome()
        self.outcome = outcome
        thread = WorkerThread {
            let result: Result<OpenLoopOutcome, LoadGenError>
            do throws(LoadGenError) {
                result = .success(try OpenLoop.run(plan, codec: codec, control: control, live: live))
            } catch {
                result = .failure(error)
            }
            outcome.value.withLock { $0 = result }
        }
    }

    /// Lets it plan no more writes and waits until those under way have ended.
    consuming func finish() throws(LoadGenError) -> OpenLoopOutcome {
        control.stop()
        let outcome = outcome
        thread.join()
        guard let result = outcome.value.withLock({ $0 }) else {
            preconditionFailure("the loop's thread has ended")
        }
        return try result.get()
    }
}
