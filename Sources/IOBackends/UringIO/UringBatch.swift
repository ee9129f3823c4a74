// From the seam's operations to the ring's requests and back: which file has a descriptor, where a write's vectors live
// while the kernel reads them, and how a result becomes an outcome. What the ring can't do is done by system calls.
import CLiburing
import FileIO
import Glibc
import PosixIO

enum UringBatch {
    /// Vectors of one write; a longer one goes through system calls (`IOV_MAX`).
    private static let vectorsMax = 1024

    static func perform(
        _ operations: inout [FileOperation], on ring: UringRing, _ options: UringOptions, _ counters: UringCounters
    ) {
        let requests = UnsafeMutableBufferPointer<UringRequest>.allocate(capacity: operations.count)
        var positions: [Int] = []
        positions.reserveCapacity(operations.count)
        var vectors: [UnsafeMutablePointer<iovec>] = []
        defer {
            requests.deallocate()
            for block in vectors { block.deallocate() }
        }
        for position in operations.indices {
            guard let request = request(operations[position], &vectors) else { continue }
            requests.initializeElement(at: positions.count, to: request)
            positions.append(position)
        }
        ring.perform(
            UnsafeMutableBufferPointer(rebasing: requests[..<positions.count]), options, counters)
        for (index, position) in positions.enumerated() {
            operations[position].outcome = outcome(requests[index], operations[position])
        }
        // What never went to the ring, and what this kernel's ring refuses.
        for position in operations.indices where operations[position].outcome == nil {
            operations[position].performAlone()
        }
    }

    /// nil for a file of another backend and for what is better done by system calls.
    private static func request(
        _ operation: FileOperation, _ vectors: inout [UnsafeMutablePointer<iovec>]
    ) -> UringRequest? {
        guard let descriptor = descriptor(operation.file) else { return nil }
        switch operation.kind {
        case .sync:
            return UringRequest(operation: .sync, descriptor: descriptor, memory: nil, count: 0, position: 0)
        case .read(let buffer, let position):
            guard !buffer.isEmpty, position <= UInt64(Int64.max) else { return nil }
            return UringRequest(
                operation: .read, descriptor: descriptor, memory: buffer.baseAddress, count: buffer.count,
                position: position)
        case .write(let buffers, let position, let durability):
            let filled = buffers.filter { !$0.isEmpty }
            guard !filled.isEmpty, filled.count <= vectorsMax, position <= UInt64(Int64.max) else { return nil }
            let block = UnsafeMutablePointer<iovec>.allocate(capacity: filled.count)
            vectors.append(block)
            for (index, buffer) in filled.enumerated() {
                // iovec has no const; the kernel only reads through it in a write.
                let base = UnsafeMutableRawPointer(mutating: buffer.baseAddress)
                (block + index).initialize(to: iovec(iov_base: base, iov_len: buffer.count))
            }
            return UringRequest(
                operation: .vectorWrite, descriptor: descriptor, memory: UnsafeMutableRawPointer(block),
                count: filled.count, position: position, isDurable: durability == .power)
        }
    }

    private static func descriptor(_ file: any File) -> Int32? {
        switch file {
        case let file as UringFile: file.base.descriptor
        case let file as PosixFile: file.descriptor
        default: nil
        }
    }

    /// nil when the ring does not know the operation.
    private static func outcome(_ request: UringRequest, _ operation: FileOperation) -> Result<Int, FileIOError>? {
        if request.failure == 0 { return .success(request.moved) }
        if request.failure == EOPNOTSUPP { return nil }
        let name: FileIOError.Operation =
            switch operation.kind {
            case .read: .read
            case .write: .write
            case .sync: .sync
            }
        return .failure(FileIOError(operation: name, path: operation.file.path, errno: request.failure))
    }
}
