// Where a node's memory goes: per allocator and use, of the store against its budget, of the log entries held in
// memory, and of the process as the kernel counts it. Read when somebody asks.
import Cluster
import Glibc
import Memory
import Storage
import Telemetry

extension NodeMetrics {
    static func writeMemory(
        _ store: StoreMemory?, groups: [(group: GroupID, status: GroupStatus)], to text: inout PrometheusText
    ) {
        let all = MemoryStatistics.all
        func labels(_ one: MemoryStatistics) -> [PrometheusText.Label] {
            [("allocator", one.allocator.rawValue), ("use", one.use.name)]
        }
        text.family("strata_memory_live_bytes", .gauge, "Memory that an allocator has handed out for a use.")
        for one in all { text.sample("strata_memory_live_bytes", labels(one), Double(one.liveBytes)) }
        text.family(
            "strata_memory_mapped_bytes", .gauge,
            "Address space behind the live bytes: rounding and free pieces included, untouched pages too.")
        for one in all { text.sample("strata_memory_mapped_bytes", labels(one), Double(one.mappedBytes)) }
        if let malloc = MallocStatistics.read() {
            text.family(
                "strata_malloc_bytes", .gauge,
                "The malloc of the process (jemalloc where it is linked): frames, buffers and objects of the language.")
            for (state, bytes) in [
                ("allocated", malloc.allocatedBytes), ("mapped", malloc.mappedBytes),
                ("resident", malloc.residentBytes),
            ] {
                text.sample("strata_malloc_bytes", [("state", state)], Double(bytes))
            }
        }
        if !groups.isEmpty {
            text.family("strata_log_tail_bytes", .gauge, "Frames of log entries held in memory, of all groups.")
            text.sample("strata_log_tail_bytes", [], Double(groups.reduce(0) { $0 + $1.status.tailBytes }))
        }
        if let store { write(store, to: &text) }
        writeProcess(to: &text)
    }

    private static func write(_ store: StoreMemory, to text: inout PrometheusText) {
        if let budget = store.budgetBytes {
            text.family(
                "strata_store_memory_budget_bytes", .gauge,
                "What memtables, cached blocks, indexes and filters may take together.")
            text.sample("strata_store_memory_budget_bytes", [], Double(budget))
        }
        text.family("strata_store_memory_bytes", .gauge, "What the store's memory is used for.")
        for (use, bytes) in [
            ("table", store.tableBytes), ("cache", store.cacheBytes), ("pinned", store.pinnedBytes),
            ("buffer", store.bufferBytes),
        ] {
            text.sample("strata_store_memory_bytes", [("use", use)], Double(bytes))
        }
        text.family("strata_store_cache_capacity_bytes", .gauge, "What the budget leaves for cached blocks.")
        text.sample("strata_store_cache_capacity_bytes", [], Double(store.cacheCapacityBytes))
    }

    private static func writeProcess(to text: inout PrometheusText) {
        var usage = rusage()
        guard getrusage(RUSAGE_SELF.rawValue, &usage) == 0 else { return }
        text.family("strata_process_page_faults_total", .counter, "Page faults; major ones waited for a disk.")
        text.sample("strata_process_page_faults_total", [("kind", "minor")], Double(usage.ru_minflt))
        text.sample("strata_process_page_faults_total", [("kind", "major")], Double(usage.ru_majflt))
        // Pages: size, resident, … (proc(5), statm).
        guard let file = fopen("/proc/self/statm", "r") else { return }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, Int32(line.count), file) != nil else { return }
        let words = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            .split(separator: " ")
        guard words.count > 1, let pages = Int(words[1]) else { return }
        text.family(
            "strata_process_resident_bytes", .gauge, "Memory of the process that is in use, files' pages included.")
        text.sample("strata_process_resident_bytes", [], Double(pages * Int(sysconf(Int32(_SC_PAGESIZE)))))
    }
}
