// What a test can make the simulated disk do, and what it can count.
public import FileIO

/// How often each thing was done. Failed calls count too.
public struct SimulatedCounters: Hashable, Sendable {
    public var opens = 0
    public var reads = 0
    public var writes = 0
    /// Writes that asked for durability.
    public var durableWrites = 0
    public var syncs = 0
    public var directorySyncs = 0
    public var bytesRead = 0
    public var bytesWritten = 0

    public init() {}
}

/// One call on the simulated disk.
public struct SimulatedCall: Hashable, Sendable {
    public var operation: FileIOError.Operation
    public var path: String
}

/// Faults that wait to happen.
struct SimulatedFaults: Sendable {
    struct Planned: Sendable {
        var operation: FileIOError.Operation
        var reason: FileIOError.Reason
        /// Calls of that operation to let pass first.
        var after: Int
        var pathSuffix: String
    }

    var planned: [Planned] = []
    /// The calls so far, when somebody wants to know.
    var calls: [SimulatedCall]?
    /// Bytes that all files together may have; nil for no limit.
    var capacityBytes: Int?
    /// Syncs report success and do nothing.
    var ignoresSyncs = false
    /// Changes of the disk that are still carried out before the power goes; nil for no plan.
    var changesLeft: Int?

    /// The fault that strikes this call, if any.
    mutating func strike(_ operation: FileIOError.Operation, _ path: String) -> FileIOError.Reason? {
        for position in planned.indices
        where planned[position].operation == operation && path.hasSuffix(planned[position].pathSuffix) {
            if planned[position].after == 0 { return planned.remove(at: position).reason }
            planned[position].after -= 1
        }
        return nil
    }
}
