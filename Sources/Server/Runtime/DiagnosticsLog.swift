// Writes the engine's diagnostics to the log, a few of each kind in a while, so that trouble which repeats a thousand
// times a second fills neither the log nor the disk. What was left out is counted and said with the next line of its
// kind.
import Cluster
import Logging
import Synchronization
import Telemetry

/// The rate limit between ``Diagnostics`` and the node's logger.
final class DiagnosticsLog: Sendable {
    /// Lines of one kind that are written within ``interval``.
    static let linesMax = 5
    /// Nanoseconds.
    static let interval: UInt64 = 10_000_000_000

    private struct Window {
        var startedAt: UInt64
        var lines = 0
        var leftOut: UInt64 = 0
    }

    private let logger: Logger
    private let clock: @Sendable () -> UInt64
    private let windows = Mutex<[Diagnostics.Kind: Window]>([:])

    init(logger: Logger, clock: @escaping @Sendable () -> UInt64 = monotonicNanoseconds) {
        self.logger = logger
        self.clock = clock
    }

    /// Diagnostics that end in this log.
    var diagnostics: Diagnostics {
        Diagnostics { [self] kind, message in
            guard let leftOut = admit(kind) else { return }
            var metadata: Logger.Metadata = ["kind": "\(kind.rawValue)"]
            if leftOut > 0 { metadata["leftOut"] = "\(leftOut)" }
            logger.log(level: kind.level, "\(message())", metadata: metadata)
        }
    }

    /// Whether a line of this kind may be written now: how many were left out before it, or nil.
    private func admit(_ kind: Diagnostics.Kind) -> UInt64? {
        let now = clock()
        return windows.withLock { windows in
            var window = windows[kind] ?? Window(startedAt: now)
            defer { windows[kind] = window }
            if now &- window.startedAt >= Self.interval {
                window.startedAt = now
                window.lines = 0
            }
            guard window.lines < Self.linesMax else {
                window.leftOut += 1
                return nil
            }
            window.lines += 1
            defer { window.leftOut = 0 }
            return window.leftOut
        }
    }
}

extension Diagnostics.Kind {
    fileprivate var level: Logger.Level {
        switch severity {
        case .notice: .notice
        case .warning: .warning
        case .error: .error
        }
    }
}

extension Diagnostics {
    /// One counter of each kind, in the Prometheus text format.
    func write(to text: inout PrometheusText) {
        text.family("strata_diagnostics_total", .counter, "Trouble that no request was waiting for, by kind.")
        for kind in Kind.allCases {
            text.sample("strata_diagnostics_total", [("kind", kind.rawValue)], Double(total(of: kind)))
        }
    }
}
