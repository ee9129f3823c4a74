// A process that writes known content into a store and says on its output which writes were acknowledged, until
// somebody kills it. A part of the storage tests: nobody else starts it.
public import FileIO
import Glibc
import Memory
public import Storage
import UringIO

@main
enum KilledWriter {
    static func main() {
        guard let options = KilledWriterOptions(arguments: Array(CommandLine.arguments.dropFirst())) else {
            fail("usage: KilledWriter folder engine seed threads wal-bytes memtable-bytes power-every none-every")
        }
        do {
            let store = try StandaloneStore.open(
                directory: options.folder, fileSystem: options.disk, options: options.store)
            for thread in 0..<options.threads {
                let newest = try store.get(KilledContent.newestKey(thread)).flatMap { number($0) } ?? 0
                start { write(store, options, thread, after: newest) }
            }
            maintain(store)
        } catch {
            fail("\(error)")
        }
    }

    private static func write(
        _ store: StandaloneStore, _ options: KilledWriterOptions, _ thread: Int, after newest: Int
    ) {
        var number = newest
        while true {
            number += 1
            do {
                while store.needsBackpressure { usleep(100) }
                var batch = WriteBatch()
                let value = KilledContent.value(seed: options.seed, thread, number)
                try batch.put(key: KilledContent.key(thread, slot: number % KilledContent.ring), value: value)
                try batch.put(key: KilledContent.newestKey(thread), value: Array(String(number).utf8))
                let durability = options.durability(of: number)
                try store.write(batch, durability: durability)
                acknowledge(thread, durability, number)
            } catch {
                fail("write \(number) of thread \(thread): \(error)")
            }
        }
    }

    /// One write of few bytes: the pipe takes all of it or the process is dead.
    private static func acknowledge(_ thread: Int, _ durability: Durability, _ number: Int) {
        var record = (UInt32(thread), UInt32(durability.rawValue), UInt64(number))
        let written = Glibc.write(1, &record, KilledContent.acknowledgementBytes)
        if written != KilledContent.acknowledgementBytes { _exit(3) }
    }

    private static func maintain(_ store: StandaloneStore) -> Never {
        while true {
            do {
                if try !store.performMaintenance() { usleep(300) }
            } catch {
                fail("maintenance: \(error)")
            }
        }
    }

    private static func number(_ bytes: [UInt8]) -> Int? { Int(String(decoding: bytes, as: UTF8.self)) }

    private static func fail(_ message: String) -> Never {
        let line = Array("KilledWriter: \(message)\n".utf8)
        _ = Glibc.write(2, line, line.count)
        exit(2)
    }

    private final class Body {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }

    private static func start(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let outcome = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(Body(body)).toOpaque())
        precondition(outcome == 0, "a thread starts")
    }
}

extension KilledWriterOptions {
    /// How both processes open the store.
    public var store: StandaloneOptions {
        var options = StandaloneOptions()
        options.engine = StorageEngineKind(rawValue: engine) ?? .lsm
        options.store.lsm.memtableBytes = memtableBytes
        options.store.lsm.allocator = .system
        options.store.hashLog.fileBytes = 1 << 20
        options.store.hashLog.allocator = .system
        options.wal.fileBytes = walFileBytes
        return options
    }

    /// POSIX, or what STRATA_IO names; on io_uring lone operations go through the ring too.
    public var disk: any FileSystem {
        var options = UringOptions()
        options.batchMin = 1
        let kind = getenv("STRATA_IO").flatMap { IOBackendKind(rawValue: String(cString: $0)) } ?? .posix
        return IOBackend(kind, options).fileSystem
    }

    public func durability(of number: Int) -> Durability {
        if powerEvery > 0, number % powerEvery == 0 { return .power }
        return noneEvery > 0 && number % noneEvery == 0 ? .none : .process
    }
}
