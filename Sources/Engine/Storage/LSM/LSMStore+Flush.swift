// Writing memtables out. The order is the whole point, each step durable before the next: table file, its name, the
// manifest edit; only then readers see the new version, and only then `flushed` moves. A step that fails leaves the
// memtable in place; one that leaves the manifest in doubt makes the store read-only.
internal import FileIO
internal import Synchronization

extension LSMStore {
    public func flush() throws(StorageError) {
        try maintenance.withLock { (maintenance) throws(StorageError) in
            if let failure = maintenance.failure { throw .readOnly(failure) }
            let reached = try writer.withLock { (writer) throws(StorageError) -> SealedMemTable in
                if !writer.active.list.isEmpty { try seal(&writer, roomFor: 0) }
                return SealedMemTable(
                    table: writer.active, applied: writer.applied, lastSequence: writer.sequence)
            }
            // What is sealed from here on is newer than `reached` and not this call's business.
            while let oldest = currentView().sealed.first, oldest.lastSequence <= reached.lastSequence {
                try writeOut(oldest, &maintenance)
            }
            if maintenance.state.applied.index < reached.applied.index {
                // Entries without operations moved the position only.
                try publish(edit(upTo: reached, adding: []), adding: [], &maintenance) { view in view }
                publishFlushed(reached.applied)
            }
        }
    }

    func writeOut(_ sealed: SealedMemTable, _ maintenance: inout Maintenance) throws(StorageError) {
        let number = maintenance.state.nextNumber
        maintenance.state.nextNumber += 1
        let table: Table
        do throws(StorageError) {
            table = try makeTable(sealed, number: number, store: maintenance.state.store)
        } catch {
            // Recovery removes it too; this only gives the space back early, so its own failure changes nothing.
            try? fileSystem.remove(path(.table(number)))
            // A failed sync may have lost pages of other files and names as well; see FileIO's File.sync().
            if case .io(let cause) = error, cause.operation == .sync || cause.operation == .syncDirectory {
                stop(error, &maintenance)
            }
            throw error
        }
        let edit = edit(upTo: sealed, adding: [table.metadata])
        try publish(edit, adding: [table], &maintenance) { view in
            ReadView(
                active: view.active, sealed: Array(view.sealed.dropFirst()),
                version: view.version.applying(adding: [PlacedTable(level: 0, table: table)], removing: []))
        }
        publishFlushed(sealed.applied)
    }

    private func edit(upTo sealed: SealedMemTable, adding tables: [TableMetadata]) -> VersionEdit {
        var edit = VersionEdit()
        edit.lastSequence = sealed.lastSequence
        edit.applied = sealed.applied
        edit.added = tables
        return edit
    }

    /// Writes what of a memtable anybody can still see into a new table, synced together with its name.
    private func makeTable(_ sealed: SealedMemTable, number: UInt64, store: UInt64) throws(StorageError) -> Table {
        let space = TableSpace(
            directory: directory, fileSystem: fileSystem, options: options, store: store, cache: cache)
        let file = try space.create(number)
        var builder = space.builder(file, number)
        try add(sealed.table, to: &builder)
        let summary = try builder.finish()
        try disk { () throws(FileIOError) in try fileSystem.syncDirectory(directory) }
        return try Table(
            file, metadata: TableMetadata(number: number, level: 0, summary: summary), store: store,
            cache: cache)
    }

    private func add(_ memtable: MemTable, to builder: inout TableBuilder) throws(StorageError) {
        // Readers without a snapshot that may still see an older version hold the memtable itself.
        let stripes = SnapshotStripes(snapshots.all)
        var rule = GarbageRule(stripes)
        let deletes = SurvivingDeletes(memtable.deletes.fragments.map { [$0] } ?? [], stripes) { _, _ in false }
        let hasDeletes = !deletes.isEmpty
        defer { writtenOut.store(0, ordering: .relaxed) }
        var node = memtable.list.firstNode
        while node != 0 {
            let key = memtable.list.key(of: node)
            writtenOut.store(Int(builder.bytesWritten), ordering: .relaxed)
            let trailer = memtable.list.trailer(of: node)
            let isCovered = hasDeletes && deletes.cover(key, sequence: trailer >> 8)
            if !isCovered, rule.keeps(key, trailer: trailer, isBottom: { _ in false }) {
                try builder.add(key: key, trailer: trailer, value: memtable.list.value(of: node))
            }
            node = memtable.list.node(after: node)
        }
        builder.add(rangeDeletes: deletes.output(from: nil, to: nil))
    }

    /// Makes an edit durable, then visible.
    func publish(
        _ edit: VersionEdit, adding tables: [Table], _ maintenance: inout Maintenance,
        _ install: (ReadView) -> ReadView
    ) throws(StorageError) {
        var edit = edit
        edit.nextNumber = maintenance.state.nextNumber
        var next = maintenance.state
        next.apply(edit)
        do throws(StorageError) {
            if maintenance.manifestIsSuspect || maintenance.manifest.wantsRewrite {
                try startManifest(&next, &maintenance)
            } else {
                try maintenance.manifest.append(edit)
            }
        } catch {
            if error.isOnlyLackOfSpace {
                // Nothing was synced, so a new manifest can say what holds once there is space again.
                maintenance.manifestIsSuspect = true
                maintenance.orphans += tables.map { $0.metadata.number }
            } else {
                stop(error, &maintenance)
            }
            throw error
        }
        maintenance.state = next
        replaceView(install)
        views.reclaim()
    }

    /// Writes the state into a new manifest and makes it the one that counts.
    private func startManifest(
        _ state: inout ManifestState, _ maintenance: inout Maintenance
    ) throws(StorageError) {
        let old = maintenance.manifest.number
        let number = state.nextNumber
        state.nextNumber += 1
        maintenance.state.nextNumber = state.nextNumber
        let manifest = try Manifest(creating: number, state: state, directory: directory, fileSystem: fileSystem)
        try disk { () throws(FileIOError) in
            try fileSystem.syncDirectory(directory)
            try fileSystem.replaceFile(path(.current), with: CurrentFile.encode(number))
        }
        maintenance.manifest = manifest
        maintenance.manifestIsSuspect = false
        // Opening removes it too when this fails.
        try? fileSystem.remove(path(.manifest(old)))
        for orphan in maintenance.orphans { try? fileSystem.remove(path(.table(orphan))) }
        maintenance.orphans = []
    }

    /// Ends all writing: what the disk holds is no longer known, and a later success would prove nothing.
    func stop(_ error: StorageError, _ maintenance: inout Maintenance) {
        maintenance.failure = error.description
        writer.withLock { $0.failure = error.description }
    }
}
