// Background work beyond flushing: compactions, one bounded piece per call, published in the same order as a flush. Old
// files go only after the manifest no longer names them; readers keep theirs open. An error other than a full disk
// makes the store read-only.
internal import FileIO
internal import Synchronization

extension LSMStore {
    public func performMaintenance() throws(StorageError) -> Bool {
        try maintenance.withLock { (maintenance) throws(StorageError) in
            views.reclaim()
            let view = currentView()
            if let failure = maintenance.failure {
                if view.sealed.isEmpty, maintenance.job == nil { return false }
                throw .readOnly(failure)
            }
            if let oldest = view.sealed.first {
                try writeOut(oldest, &maintenance)
                return true
            }
            if mayWait { return false }
            if maintenance.job != nil {
                try advance(&maintenance)
                return true
            }
            if maintenance.compactionPause > 0 {
                maintenance.compactionPause -= 1
                return false
            }
            guard let plan = CompactionPlan.next(view.version, options: options) else { return false }
            try begin(plan, view.version, &maintenance)
            return true
        }
    }

    public func putOffCompaction(_ isPutOff: Bool) {
        isCompactionPutOff.store(isPutOff, ordering: .relaxed)
    }

    /// Compaction was put off, and neither readers nor writers suffer much from it yet.
    private var mayWait: Bool {
        isCompactionPutOff.load(ordering: .relaxed)
            && level0Count.load(ordering: .relaxed) < Self.putOffFactor * options.level0Trigger
            && delayPerByte.load(ordering: .relaxed) == 0
    }

    /// Level 0 may grow to so many times the tables that make a compaction due.
    private static var putOffFactor: Int { 2 }

    /// Rewrites everything between two keys into the deepest level it reaches: one version per key that anybody can
    /// see.
    /// - Parameter to: excluded; nil: to the end.
    public func compact(from: [UInt8] = [], to: [UInt8]? = nil) throws(StorageError) {
        try flush()
        for level in 0..<Version.levelCount - 1 {
            var more = true
            while more {
                more = try maintenance.withLock { (maintenance) throws(StorageError) in
                    if let failure = maintenance.failure { throw .readOnly(failure) }
                    while maintenance.job != nil { try advance(&maintenance) }
                    let version = currentView().version
                    guard let plan = CompactionPlan.range(version, level: level, from: from, to: to, options: options)
                    else { return false }
                    try begin(plan, version, &maintenance)
                    while maintenance.job != nil { try advance(&maintenance) }
                    return true
                }
            }
        }
    }

    private func begin(
        _ plan: CompactionPlan, _ version: Version, _ maintenance: inout Maintenance
    ) throws(StorageError) {
        if plan.isMove(in: version, options: options) { return try move(plan, &maintenance) }
        let space = TableSpace(
            directory: directory, fileSystem: fileSystem, options: options, store: maintenance.state.store,
            cache: cache)
        do throws(StorageError) {
            maintenance.job = try CompactionJob(plan, version: version, snapshots: snapshots.all, space: space)
        } catch {
            try fail(error, &maintenance)
        }
    }

    private func move(_ plan: CompactionPlan, _ maintenance: inout Maintenance) throws(StorageError) {
        var edit = VersionEdit()
        var installed: [PlacedTable] = []
        for table in plan.inputs {
            var metadata = table.metadata
            metadata.level = plan.outputLevel
            edit.added.append(metadata)
            installed.append(PlacedTable(level: plan.outputLevel, table: table))
        }
        edit.removed = plan.inputs.map { $0.metadata.number }
        let removed = edit.removed
        try publish(edit, adding: [], &maintenance) { view in
            view.with(version: view.version.applying(adding: installed, removing: removed))
        }
    }

    private func advance(_ maintenance: inout Maintenance) throws(StorageError) {
        var number = maintenance.state.nextNumber
        let isDone: Bool?
        do throws(StorageError) {
            isDone = try maintenance.job?.step {
                number += 1
                return number - 1
            }
            maintenance.state.nextNumber = number
        } catch {
            maintenance.state.nextNumber = number
            maintenance.job.take()?.abandon()
            return try fail(error, &maintenance)
        }
        if isDone == true, let job = maintenance.job.take() { try install(job, &maintenance) }
    }

    private func install(_ job: consuming CompactionJob, _ maintenance: inout Maintenance) throws(StorageError) {
        let inputs = job.plan.inputs + job.plan.overlapping
        var edit = VersionEdit()
        edit.added = job.outputs.map { $0.metadata }
        edit.removed = inputs.map { $0.metadata.number }
        let removed = edit.removed
        let installed = job.outputs.map { PlacedTable(level: job.plan.outputLevel, table: $0) }
        try publish(edit, adding: job.outputs, &maintenance) { view in
            view.with(version: view.version.applying(adding: installed, removing: removed))
        }
        maintenance.compactedBytes += job.outputs.reduce(0) { $0 + $1.metadata.fileSize }
        // Readers hold the files open; a name that can't be removed now goes when the store is opened again.
        for number in removed { try? fileSystem.remove(path(.table(number))) }
    }

    /// A full disk only pauses compaction: what is there stays good and readable. Anything else ends all writing.
    private func fail(
        _ error: StorageError, _ maintenance: inout Maintenance
    ) throws(StorageError) {
        if error.isOnlyLackOfSpace {
            maintenance.compactionPause = Self.compactionPauseCalls
            return
        }
        stop(error, &maintenance)
        throw error
    }

    /// Calls of maintenance to wait before another try when the disk was full.
    private static var compactionPauseCalls: Int { 100 }
}
