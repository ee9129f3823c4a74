// A handle on a file of the simulated disk. It dies with the crash of the machine, as a descriptor does.
import FileIO
import Synchronization

final class SimulatedFile: File {
    let path: String
    private let node: Int
    private let epoch: Int
    private let isReadOnly: Bool
    private let isDirect: Bool
    private let disk: SharedDisk

    init(path: String, node: Int, epoch: Int, isReadOnly: Bool, isDirect: Bool, disk: SharedDisk) {
        self.path = path
        self.node = node
        self.epoch = epoch
        self.isReadOnly = isReadOnly
        self.isDirect = isDirect
        self.disk = disk
    }

    deinit {
        disk.state.withLock { if $0.epoch == epoch { $0.nodes[node].handles -= 1 } }
    }

    private func use<Result: Sendable>(
        _ operation: FileIOError.Operation, changes: Bool,
        _ body: (inout SimulatedDisk) throws(FileIOError) -> Result
    ) throws(FileIOError) -> Result {
        try disk.use { disk throws(FileIOError) in
            guard disk.epoch == epoch else {
                throw disk.failure(operation, path, .device, "the simulated machine crashed while it was open")
            }
            if changes && isReadOnly {
                throw disk.failure(operation, path, .permissionDenied, "it was opened for reading only")
            }
            return try body(&disk)
        }
    }

    func size() throws(FileIOError) -> UInt64 {
        try use(.size, changes: false) { disk throws(FileIOError) in
            try disk.check(.size, path)
            return UInt64(disk.nodes[node].content.count)
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        try use(.read, changes: false) { disk throws(FileIOError) in
            disk.counters.reads += 1
            try disk.check(.read, path)
            disk.spend(isSync: false)
            if isDirect { try checkAlignment(UnsafeRawBufferPointer(buffer), position, .read, disk) }
            let size = disk.nodes[node].content.count
            guard position < UInt64(size) else { return 0 }
            let start = Int(position)
            let count = min(buffer.count, size - start)
            disk.wear(node, start..<start + count)
            let content = disk.nodes[node].content
            content.withUnsafeBytes {
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
            }
            disk.counters.bytesRead += count
            return count
        }
    }

    func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError) {
        try use(.write, changes: true) { disk throws(FileIOError) in
            disk.counters.writes += 1
            if durability == .power { disk.counters.durableWrites += 1 }
            disk.spend(isSync: durability == .power)
            let total = buffers.reduce(0) { $0 + $1.count }
            // A failing write leaves an arbitrary part of itself behind.
            var allowed = total
            var failure: FileIOError?
            do throws(FileIOError) {
                try disk.check(.write, path)
            } catch {
                if disk.faults.changesLeft == 0 { throw error }
                failure = error
                allowed = disk.random.below(total + 1)
            }
            if isDirect {
                for buffer in buffers { try checkAlignment(buffer, position, .write, disk) }
            }
            let start = disk.landing(of: try startOfWrite(position, total, &disk), path)
            if let capacity = disk.faults.capacityBytes {
                let growth = max(start + total - disk.nodes[node].content.count, 0)
                let room = max(capacity - disk.usedBytes, 0)
                if growth > room, failure == nil {
                    failure = disk.failure(.write, path, .noSpace, "No space left on device")
                    allowed = max(total - (growth - room), 0)
                }
            }
            let isPowered = disk.isPowered()
            var next = start
            for buffer in buffers {
                let part = UnsafeRawBufferPointer(rebasing: buffer.prefix(start + allowed - next))
                disk.nodes[node].write(part, at: next)
                next += part.count
            }
            disk.counters.bytesWritten += next - start
            if let failure { throw failure }
            guard isPowered else {
                throw disk.failure(.write, path, .device, "the simulated machine has no power")
            }
            if durability == .power && !disk.faults.ignoresSyncs && next > start {
                disk.nodes[node].sync(start..<next)
            }
        }
    }

    /// What the kernel refuses on a file that was opened with `O_DIRECT`.
    private func checkAlignment(
        _ buffer: UnsafeRawBufferPointer, _ position: UInt64, _ operation: FileIOError.Operation, _ disk: SimulatedDisk
    ) throws(FileIOError) {
        let address = UInt64(UInt(bitPattern: buffer.baseAddress))
        guard (address | UInt64(buffer.count) | position) % UInt64(FileCaching.alignmentBytes) == 0 else {
            throw disk.failure(operation, path, .other, "Invalid argument")
        }
    }

    private func startOfWrite(
        _ position: UInt64, _ count: Int, _ disk: inout SimulatedDisk
    ) throws(FileIOError) -> Int {
        guard let start = Int(exactly: position), start <= Int.max - count else {
            throw disk.failure(.write, path, .other, "File too large")
        }
        return start
    }

    func sync() throws(FileIOError) {
        try use(.sync, changes: false) { disk throws(FileIOError) in
            disk.counters.syncs += 1
            disk.spend(isSync: true)
            do throws(FileIOError) {
                try disk.checkChange(.sync, path)
            } catch {
                // The kernel drops the dirty pages: they stay readable, but no later sync writes them.
                if disk.faults.changesLeft != 0 { disk.nodes[node].forgetDirt() }
                throw error
            }
            if !disk.faults.ignoresSyncs { disk.nodes[node].sync() }
        }
    }

    func truncate(to size: UInt64) throws(FileIOError) {
        try use(.truncate, changes: true) { disk throws(FileIOError) in
            try disk.checkChange(.truncate, path)
            disk.nodes[node].resize(to: Int(size))
        }
    }

    func reserve(at position: UInt64, count: UInt64) throws(FileIOError) {
        try use(.reserve, changes: true) { disk throws(FileIOError) in
            try disk.checkChange(.reserve, path)
            let growth = max(Int(position + count) - disk.nodes[node].content.count, 0)
            if let capacity = disk.faults.capacityBytes, disk.usedBytes + growth > capacity {
                throw disk.failure(.reserve, path, .noSpace, "No space left on device")
            }
            if growth > 0 { disk.nodes[node].resize(to: Int(position + count)) }
        }
    }

    func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError) {
        let zeros = [UInt8](repeating: 0, count: Int(count))
        try use(.zeroFill, changes: true) { disk throws(FileIOError) in
            try disk.checkChange(.zeroFill, path)
            let start = Int(position)
            let growth = max(start + zeros.count - disk.nodes[node].content.count, 0)
            if let capacity = disk.faults.capacityBytes, disk.usedBytes + growth > capacity {
                throw disk.failure(.zeroFill, path, .noSpace, "No space left on device")
            }
            zeros.withUnsafeBytes { disk.nodes[node].write($0, at: start) }
        }
    }
}
