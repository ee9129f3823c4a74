// The lab's only time source for intervals: CLOCK_MONOTONIC, in nanoseconds, as plain integers. Wall-clock time is used
// for names and for nothing that is subtracted.
import Glibc

/// Time for intervals and schedules.
public enum MonotonicClock {
    public static let nanosecondsPerSecond: UInt64 = 1_000_000_000

    /// Nanoseconds since an arbitrary start; never goes back. About 20 ns a call.
    public static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * nanosecondsPerSecond + UInt64(time.tv_nsec)
    }

    /// Blocks the thread until `deadline`; returns at once when it has passed.
    public static func sleep(until deadline: UInt64) {
        var time = timespec(
            tv_sec: Int(deadline / nanosecondsPerSecond), tv_nsec: Int(deadline % nanosecondsPerSecond))
        while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
    }

    /// Blocks the thread for `seconds`.
    public static func sleep(seconds: Double) {
        sleep(until: now() + UInt64(max(0, seconds) * 1e9))
    }

    /// Seconds from `start` to `end`; negative when `end` is earlier.
    public static func seconds(from start: UInt64, to end: UInt64) -> Double {
        end >= start ? Double(end - start) / 1e9 : -Double(start - end) / 1e9
    }
}

/// A moment of civil time, UTC, for file names and report headers.
public struct WallTime: Hashable, Sendable {
    /// Since 1970-01-01T00:00:00Z.
    public var milliseconds: Int64

    public init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    public static func now() -> WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    /// `20261121T101502Z`
    public var compact: String {
        formatted("%Y%m%dT%H%M%SZ")
    }

    /// `2026-11-21T10:15:02.118Z`
    public var iso8601: String {
        let fraction = String(milliseconds % 1000)
        return formatted("%Y-%m-%dT%H:%M:%S") + "." + String(repeating: "0", count: 3 - fraction.count) + fraction + "Z"
    }

    private func formatted(_ pattern: String) -> String {
        var seconds = time_t(milliseconds / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            let count = strftime(buffer.baseAddress!, buffer.count, pattern, &parts)
            return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}
