// The write-ahead log: what one put costs with it, at each durability.
import Benchmark
import PosixIO
import Storage

func writeAheadLog() {
    for (name, durability, scale) in [
        ("process", Durability.process, BenchmarkScalingFactor.mega), ("power", .power, .kilo),
    ] {
        Benchmark(
            "log, put of 16 + 100 B at durability \(name)", configuration: .init(scalingFactor: scale, maxIterations: 3)
        ) {
            benchmark in
            let folder = try TemporaryFolder.make()
            defer { TemporaryFolder.remove(folder) }
            let store = try StandaloneStore.open(
                directory: folder, fileSystem: PosixFileSystem(), options: StandaloneOptions())
            defer { store.close() }
            var key = BenchmarkKey()
            var batch = WriteBatch()
            benchmark.startMeasurement()
            for number in benchmark.scaledIterations {
                key.set(number)
                batch.removeAll()
                try batch.put(key: key.bytes, value: value)
                blackHole(try store.write(batch, durability: durability))
            }
            benchmark.stopMeasurement()
        }
    }
}
