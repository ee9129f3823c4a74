// What the smallest steps cost: allocation from an arena against malloc, CRC-32C, and finding a byte in sixteen.
import Benchmark
import CEngine
import Memory

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], scalingFactor: .mega, maxDuration: .seconds(2), maxIterations: 200)

    Benchmark("arena allocate 64 B") { benchmark in
        // A piece of 1 MiB, used again and again: page faults are another benchmark's business.
        let arena = try Arena(capacity: 1 << 20, source: PageSource(.arena))
        benchmark.startMeasurement()
        for _ in benchmark.scaledIterations {
            let place = arena.allocate(bytes: 64)
            if place == 0 { arena.reset() }
            blackHole(place)
        }
        benchmark.stopMeasurement()
    }

    Benchmark("malloc and free 64 B") { benchmark in
        for _ in benchmark.scaledIterations {
            let place = __libc_malloc(64)
            blackHole(place)
            __libc_free(place)
        }
    }

    Benchmark("arena first touch of 1 MiB", configuration: .init(scalingFactor: .one)) { benchmark in
        for _ in benchmark.scaledIterations {
            let arena = try Arena(capacity: 1 << 20, source: PageSource(.arena))
            while true {
                let place = arena.allocate(bytes: 4096)
                if place == 0 { break }
                arena.address(of: place).storeBytes(of: 1, as: UInt8.self)
            }
            blackHole(arena.usedBytes)
        }
    }

    // 1 MiB a call shows the rate alone.
    for count in [64, 4096, 1 << 20] {
        let bytes = [UInt8](repeating: 0x5A, count: count)
        let rate = BenchmarkMetric.custom("MB/s", polarity: .prefersLarger, useScalingFactor: false)
        Benchmark(
            "CRC-32C of \(count) B", configuration: .init(metrics: [rate, .wallClock], scalingFactor: .kilo)
        ) { benchmark in
            var sum: UInt32 = 0
            let clock = ContinuousClock()
            let start = clock.now
            bytes.withUnsafeBytes { bytes in
                for _ in benchmark.scaledIterations { sum = strata_crc32c(sum, bytes.baseAddress, bytes.count) }
            }
            let seconds = (clock.now - start) / .seconds(1)
            blackHole(sum)
            benchmark.measurement(rate, Int(Double(count * benchmark.scaledIterations.count) / seconds / 1e6))
        }
    }

    Benchmark("match a byte in 16") { benchmark in
        let bytes = (0..<16).map { UInt8($0) }
        var found: UInt32 = 0
        bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            for number in benchmark.scaledIterations {
                found &+= strata_match16(base, UInt8(truncatingIfNeeded: number))
            }
        }
        blackHole(found)
    }
}
