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
    /// Writes that landed somewhere else, and bits that flipped in what was read from the medium.
    public var misdirectedWrites = 0
    public var flippedBits = 0
    /// What the calls would have taken on a real disk, with the latency that was set.
    public var busyNanoseconds: UInt64 = 0

    public init() {}
}

/// One call on the simulated disk.
public struct SimulatedCall: Hashable, Sendable {
    public var operation: FileIOError.Operation
    public var path: String
}

/// How long the calls of a simulated disk take, in simulated time: nobody sleeps, the counters add it up.
public struct SimulatedLatency: Hashable, Sendable {
    /// Of each read and write.
    public var transferNanoseconds: ClosedRange<UInt64>
    /// Of each sync, durable write and sync of a directory.
    public var syncNanoseconds: ClosedRange<UInt64>
    /// One call in this many stalls; 0 for none.
    public var stallOneIn = 0
    public var stallNanoseconds: UInt64 = 0

    public init(transferNanoseconds: ClosedRange<UInt64>, syncNanoseconds: ClosedRange<UInt64>) {
        self.transferNanoseconds = transferNanoseconds
        self.syncNanoseconds = syncNanoseconds
    }
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
    /// Each call fails (EIO) with a chance of one in this many; 0 for none.
    var failsOneIn = 0
    /// Each read flips one bit of the medium under it with a chance of one in this many; 0 for none.
    var flipsOneIn = 0
    /// The next write to a path that ends so lands the given number of sectors further on.
    var misdirected: (pathSuffix: String, sectors: Int)?
    var latency: SimulatedLatency?
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
