// The segmented log: encoding frames, and appending them with and without the disk in the way.
import Benchmark
import FileIO
import Glibc
import PosixIO
import SegmentedLog

private let payload = [UInt8](repeating: 0x5A, count: 256)

private func batch(from index: UInt64, count: UInt64) -> FrameBatch {
    var batch = FrameBatch()
    for offset in 0..<count {
        batch.append(
            kind: .records, index: index + offset, term: 1, baseOffset: index + offset - 1, recordCount: 1,
            payload: payload)
    }
    return batch
}

private enum Failure: Error { case noFolder }

/// Runs `body` with a log in a temporary folder that is gone afterwards.
private func withLog(_ body: (SegmentedLog) throws -> Void) throws {
    var template = Array("/tmp/strata-benchmark-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failure.noFolder }
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
        if let names = opendir(folder) {
            while let entry = readdir(names) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." { unlink(folder + "/" + name) }
            }
            closedir(names)
        }
        rmdir(folder)
    }
    try body(try SegmentedLog.open(directory: folder, fileSystem: PosixFileSystem()))
}

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], scalingFactor: .one, maxDuration: .seconds(2), maxIterations: 10_000)

    Benchmark("encode 100 frames of 256 B") { benchmark in
        for _ in benchmark.scaledIterations { blackHole(batch(from: 1, count: 100).byteCount) }
    }

    for (name, durability) in [("page cache", WriteDurability.process), ("durable", .power)] {
        for frames in [1, 100] as [UInt64] {
            Benchmark("append \(frames) frames of 256 B, \(name)") { benchmark in
                try withLog { log in
                    var index: UInt64 = 1
                    benchmark.startMeasurement()
                    for _ in benchmark.scaledIterations {
                        try log.append(batch(from: index, count: frames), durability: durability)
                        index += frames
                    }
                    benchmark.stopMeasurement()
                }
            }
        }
    }
}
