// Processor time and memory of a process, from /proc.
import Glibc
import LabKit

struct ProcessUsage: Hashable {
    var time: UInt64
    /// User and system, in clock ticks.
    var processorTicks: UInt64
    var residentBytes: UInt64

    /// Nil when the process is gone.
    static func of(_ pid: pid_t, at time: UInt64) -> ProcessUsage? {
        guard let file = fopen("/proc/\(pid)/stat", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 1024)
        guard fgets(&line, Int32(line.count), file) != nil else { return nil }
        return parse(String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self), at: time)
    }

    /// Fields of proc(5) `stat`, counted behind the command's closing parenthesis, which may hold anything.
    static func parse(_ stat: String, at time: UInt64) -> ProcessUsage? {
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        guard fields.count > 21, let user = UInt64(fields[11]), let system = UInt64(fields[12]),
            let pages = UInt64(fields[21])
        else { return nil }
        return ProcessUsage(
            time: time, processorTicks: user + system,
            residentBytes: pages * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE)))))
    }

    /// 1 is one processor, fully busy.
    func processorShare(since before: ProcessUsage) -> Double {
        let seconds = MonotonicClock.seconds(from: before.time, to: time)
        guard seconds > 0, processorTicks >= before.processorTicks else { return 0 }
        let ticks = Double(processorTicks - before.processorTicks)
        return ticks / Double(max(1, sysconf(Int32(_SC_CLK_TCK)))) / seconds
    }
}
