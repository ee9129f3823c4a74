// A child process writes, its parent kills it at any moment, a hundred times. The oracle is a pipe, outside of
// everything the store keeps: what was acknowledged is there, at most the write that was on its way comes on top, and
// nothing is missing in between.
import FileIO
import Glibc
import KilledWriter
import TestSupport
import Testing

@testable import Storage

@Suite struct KillTests {
    /// STRATA_KILL_ROUNDS sets another number.
    private static let rounds = getenv("STRATA_KILL_ROUNDS").flatMap { Int(String(cString: $0)) } ?? 100
    /// After so many kills a new store is begun, with other options.
    private static let roundsPerStore = 10
    private static let lifeMicrosecondsMax = 30_000
    /// For its first acknowledgement, on a machine with much else to do.
    private static let startMicrosecondsMax = 20_000_000

    @Test func aKilledWriterLosesNothing() throws {
        let seed =
            getenv("STRATA_KILL_SEED").flatMap { UInt64(String(cString: $0)) }
            ?? UInt64.random(in: 0..<1 << 40)
        print("kill rounds: STRATA_KILL_SEED=\(seed)")
        var random = SplitMix(seed)
        var writes = 0
        for first in stride(from: 0, to: Self.rounds, by: Self.roundsPerStore) {
            let folder = TemporaryFolder.make()
            defer { try? RealDisk.fileSystem.removeTree(folder) }
            let options = Self.options(folder + "/store", number: first / Self.roundsPerStore, &random)
            var newest = [Int](repeating: 0, count: options.threads)
            for round in first..<min(first + Self.roundsPerStore, Self.rounds) {
                let note = "seed \(seed), round \(round), \(options)"
                let life = random.below(Self.lifeMicrosecondsMax)
                // Now and then while it opens the store; mostly in the middle of writing.
                let isEarly = random.below(5) == 0
                let acknowledged = try Self.runAndKill(options, afterMicroseconds: life, isEarly: isEarly, note)
                let found = try Self.check(options, newest, acknowledged, note)
                writes += zip(newest, found).reduce(0) { $0 + $1.1 - $1.0 }
                newest = found
            }
        }
        print("kill rounds: \(Self.rounds) kills, \(writes) writes survived")
        #expect(writes > Self.rounds, "the writers were killed before they wrote anything")
    }

    private static func options(_ folder: String, number: Int, _ random: inout SplitMix) -> KilledWriterOptions {
        KilledWriterOptions(
            folder: folder, engine: number % 4 == 3 ? "hashlog" : "lsm", seed: random.next(), threads: 1 + number % 3,
            walFileBytes: [32 << 10, 128 << 10, 1 << 20][random.below(3)],
            memtableBytes: [64 << 10, 1 << 20][random.below(2)], powerEvery: [0, 1, 3, 20][random.below(4)],
            noneEvery: [0, 0, 2][random.below(3)])
    }

    /// What a thread was told: its newest write at any level, and at one that outlives the process.
    private struct Acknowledged {
        var any = 0
        var kept = 0
    }

    private static func runAndKill(
        _ options: KilledWriterOptions, afterMicroseconds life: Int, isEarly: Bool, _ note: String
    ) throws -> [Acknowledged] {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        defer { close(ends[0]) }
        let child = spawn(options, output: ends[1])
        close(ends[1])
        let pid = try #require(child)
        var bytes: [UInt8] = []
        var deadline = now() + (isEarly ? life : startMicrosecondsMax)
        var isCounting = isEarly
        // The pipe is emptied meanwhile, so that the writer never waits for it.
        while now() < deadline {
            var poller = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
            _ = poll(&poller, 1, Int32((deadline - now() + 999) / 1000))
            if poller.revents != 0, !read(ends[0], &bytes) { break }
            if !isCounting, !bytes.isEmpty {
                isCounting = true
                deadline = now() + life
            }
        }
        kill(pid, SIGKILL)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        // The pipe outlives the writer.
        while read(ends[0], &bytes) {}
        // A writer that ended by itself has said why.
        #expect(status & 0x7F == SIGKILL, "\(note): status \(status)")
        var acknowledged = [Acknowledged](repeating: Acknowledged(), count: options.threads)
        for start in stride(from: 0, to: bytes.count, by: KilledContent.acknowledgementBytes) {
            try #require(start + KilledContent.acknowledgementBytes <= bytes.count, "\(note): half a word")
            let (thread, durability, number) = bytes.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: start, as: (UInt32, UInt32, UInt64).self)
            }
            acknowledged[Int(thread)].any = Int(number)
            if durability > Durability.none.rawValue { acknowledged[Int(thread)].kept = Int(number) }
        }
        return acknowledged
    }

    /// - Returns: the newest write of each thread.
    private static func check(
        _ options: KilledWriterOptions, _ before: [Int], _ acknowledged: [Acknowledged], _ note: String
    ) throws -> [Int] {
        let store = try StandaloneStore.open(
            directory: options.folder, fileSystem: RealDisk.fileSystem, options: options.store)
        defer { store.close() }
        return try before.indices.map { thread in
            let told = acknowledged[thread]
            let bytes = try store.get(KilledContent.newestKey(thread))
            let newest = bytes.flatMap { Int(String(decoding: $0, as: UTF8.self)) } ?? 0
            let range = max(before[thread], told.kept)...max(before[thread], told.any) + 1
            #expect(range.contains(newest), "\(note), thread \(thread): \(newest) is not in \(range)")
            let found = try store.scan(
                from: KilledContent.keyPrefix(thread), to: KilledContent.keyPrefix(thread + 1), limit: .max)
            let isRight = same(found, KilledContent.expected(seed: options.seed, thread, newest: newest))
            #expect(isRight, "\(note), thread \(thread): the writes up to \(newest) are not all there")
            return newest
        }
    }

    // MARK: processes

    /// - Returns: false at the end of the pipe, or when there is nothing in it.
    private static func read(_ pipe: Int32, _ bytes: inout [UInt8]) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = Glibc.read(pipe, &buffer, buffer.count)
        if count > 0 { bytes += buffer[..<count] }
        return count > 0
    }

    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000 + time.tv_nsec / 1000
    }

    /// The writer's executable lies beside the tests'. It dies with its parent: by the signal of the broken pipe.
    private static func spawn(_ options: KilledWriterOptions, output: Int32) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var arguments: [UnsafeMutablePointer<CChar>?] = ([executable] + options.arguments).map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        return posix_spawn(&pid, executable, &actions, &attributes, arguments, environ) == 0 ? pid : nil
    }

    private static let executable = Program.productsFolder + "/KilledWriter"
}
