// How long the disk itself takes to make 4 KiB durable: the floor under every durable write that a run reports. A
// result below it means that something did not reach the disk.
internal import Foundation
internal import Glibc

/// Times of `write 4 KiB + fdatasync`, appended to one file, one after the other.
public struct DiskFloor: Codable, Hashable, Sendable {
    public var writes: Int
    /// The fastest of them. On a busy machine the percentiles hold waiting for a processor as well; this one is the
    /// disk.
    public var minimumSeconds: Double
    public var p50Seconds: Double
    public var p99Seconds: Double

    public static let writeBytes = 4096

    public init(writes: Int, minimumSeconds: Double, p50Seconds: Double, p99Seconds: Double) {
        self.writes = writes
        self.minimumSeconds = minimumSeconds
        self.p50Seconds = p50Seconds
        self.p99Seconds = p99Seconds
    }

    /// Probes `folder` with a file that is removed again.
    /// - Parameter writes: how many; 200 take about 30 ms on a fast disk.
    public static func probe(folder: String, writes: Int = 200) throws(LabError) -> DiskFloor {
        precondition(writes > 0, "a probe needs at least one write")
        let path = folder + "/fdatasync-probe.tmp"
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw LabError("open", path, errno: errno) }
        defer {
            close(file)
            unlink(path)
        }
        let block = [UInt8](repeating: 0x5A, count: writeBytes)
        var times: [Double] = []
        times.reserveCapacity(writes)
        for _ in 0..<writes {
            let start = MonotonicClock.now()
            guard write(file, block, block.count) == block.count else { throw LabError("write", path, errno: errno) }
            guard fdatasync(file) == 0 else { throw LabError("fdatasync", path, errno: errno) }
            times.append(MonotonicClock.seconds(from: start, to: MonotonicClock.now()))
        }
        let sample = Sample(times)
        return DiskFloor(
            writes: writes, minimumSeconds: sample.minimum ?? 0, p50Seconds: sample.quantile(0.5) ?? 0,
            p99Seconds: sample.quantile(0.99) ?? 0)
    }
}
