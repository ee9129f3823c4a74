// The state of the simulated disk: a tree of nodes, the name changes that no directory sync has covered yet, and the
// faults to come. All of it is plain values and sorted arrays, so that a seed fixes every outcome.
import FileIO

struct SimulatedDisk: Sendable {
    /// A change of names that a crash keeps or undoes as a whole.
    enum NameChange: Sendable {
        case set(directory: Int, name: String, node: Int?)
        case rename(from: Int, source: String, to: Int, destination: String, node: Int)

        func touches(_ directory: Int) -> Bool {
            switch self {
            case .set(let changed, _, _): changed == directory
            case .rename(let from, _, let to, _, _): from == directory || to == directory
            }
        }
    }

    var nodes: [SimulatedNode] = [SimulatedNode(isDirectory: true)]
    var random: SimulatedRandom
    var faults = SimulatedFaults()
    var counters = SimulatedCounters()
    /// Grows with each crash; handles of an older epoch are dead.
    var epoch = 0
    /// Nodes of locked folders.
    var locks: [Int] = []
    private var pending: [NameChange] = []
    private var free: [Int] = []
    private static let root = 0

    init(seed: UInt64) {
        random = SimulatedRandom(seed: seed)
    }

    // MARK: names

    private static func components(_ path: String) -> [Substring] {
        path.split(separator: "/").filter { $0 != "." }
    }

    /// The node at a path, nil when there is none.
    func find(_ path: String) -> Int? {
        var node = Self.root
        for name in Self.components(path) {
            guard nodes[node].isDirectory, let next = nodes[node].node(named: String(name)) else { return nil }
            node = next
        }
        return node
    }

    /// The directory that holds a path's last component, and that component.
    func parent(_ path: String, _ operation: FileIOError.Operation) throws(FileIOError) -> (node: Int, name: String) {
        var components = Self.components(path)
        guard let name = components.popLast() else {
            throw failure(operation, path, .other, "the root of the simulated disk can't be changed")
        }
        guard let node = find(components.joined(separator: "/")), nodes[node].isDirectory else {
            throw failure(operation, path, .notFound, "No such file or directory")
        }
        return (node, String(name))
    }

    /// Sets or removes a name, to be made durable by a directory sync.
    mutating func set(_ name: String, in directory: Int, to node: Int?) {
        nodes[directory].set(name, to: node)
        pending.append(.set(directory: directory, name: name, node: node))
    }

    mutating func rename(from: Int, _ source: String, to: Int, _ destination: String, node: Int) {
        nodes[from].set(source, to: nil)
        nodes[to].set(destination, to: node)
        pending.append(.rename(from: from, source: source, to: to, destination: destination, node: node))
    }

    mutating func makeNode(isDirectory: Bool) -> Int {
        let node = SimulatedNode(isDirectory: isDirectory)
        if let reused = free.popLast() {
            nodes[reused] = node
            return reused
        }
        nodes.append(node)
        return nodes.count - 1
    }

    /// Makes a directory's names durable. A rename between two directories is durable when either is synced.
    mutating func syncNames(of directory: Int) {
        if faults.ignoresSyncs { return }
        var rest: [NameChange] = []
        for change in pending {
            if change.touches(directory) { makeDurable(change) } else { rest.append(change) }
        }
        pending = rest
        collect()
    }

    private mutating func makeDurable(_ change: NameChange) {
        switch change {
        case .set(let directory, let name, let node):
            nodes[directory].setDurable(name, to: node)
        case .rename(let from, let source, let to, let destination, let node):
            nodes[from].setDurable(source, to: nil)
            nodes[to].setDurable(destination, to: node)
        }
    }

    /// Frees nodes that no name, no pending change and no handle leads to.
    private mutating func collect() {
        var isHeld = [Bool](repeating: false, count: nodes.count)
        isHeld[Self.root] = true
        for node in nodes {
            for entry in node.entries { isHeld[entry.node] = true }
            for entry in node.durableEntries { isHeld[entry.node] = true }
        }
        for change in pending {
            switch change {
            case .set(let directory, _, let node):
                isHeld[directory] = true
                if let node { isHeld[node] = true }
            case .rename(let from, _, let to, _, let node):
                for held in [from, to, node] { isHeld[held] = true }
            }
        }
        for node in free { isHeld[node] = true }
        for node in nodes.indices where !isHeld[node] && nodes[node].handles == 0 {
            nodes[node].removeContent()
            free.append(node)
        }
    }

    /// The power goes.
    mutating func crash() {
        epoch += 1
        locks = []
        faults = SimulatedFaults()
        for change in pending where random.chance(1, in: 2) { makeDurable(change) }
        pending = []
        for node in nodes.indices {
            if nodes[node].isDirectory {
                nodes[node].revertNames()
                nodes[node].handles = 0
            } else {
                nodes[node].crash(&random)
            }
        }
        collect()
    }

    // MARK: faults

    /// Counts a change of the disk; false when the power goes during it.
    mutating func isPowered() -> Bool {
        guard let left = faults.changesLeft else { return true }
        faults.changesLeft = left - 1
        return left > 1
    }

    /// Throws when the power is gone or a planned fault strikes.
    mutating func check(_ operation: FileIOError.Operation, _ path: String) throws(FileIOError) {
        if faults.changesLeft == 0 { throw failure(operation, path, .device, "the simulated machine has no power") }
        faults.calls?.append(SimulatedCall(operation: operation, path: path))
        if let reason = faults.strike(operation, path) {
            throw failure(operation, path, reason, "simulated fault")
        }
        if faults.failsOneIn > 0, random.chance(1, in: faults.failsOneIn) {
            throw failure(operation, path, .device, "simulated fault")
        }
    }

    /// Counts the simulated time of a call.
    mutating func spend(isSync: Bool) {
        guard let latency = faults.latency else { return }
        let range = isSync ? latency.syncNanoseconds : latency.transferNanoseconds
        counters.busyNanoseconds += range.lowerBound + random.next() % (range.upperBound - range.lowerBound + 1)
        if latency.stallOneIn > 0, random.chance(1, in: latency.stallOneIn) {
            counters.busyNanoseconds += latency.stallNanoseconds
        }
    }

    /// Where a write to `position` really lands: somewhere else, once, when that was planned.
    mutating func landing(of position: Int, _ path: String) -> Int {
        guard let plan = faults.misdirected, path.hasSuffix(plan.pathSuffix) else { return position }
        faults.misdirected = nil
        counters.misdirectedWrites += 1
        return max(0, position + plan.sectors * sectorBytes)
    }

    /// A failing medium: now and then a bit under a read has flipped, for good.
    mutating func wear(_ node: Int, _ range: Range<Int>) {
        guard faults.flipsOneIn > 0, !range.isEmpty, random.chance(1, in: faults.flipsOneIn) else { return }
        nodes[node].damage(at: range.lowerBound + random.below(range.count), mask: 1 << UInt8(random.below(8)))
        counters.flippedBits += 1
    }

    /// Like ``check(_:_:)`` for an operation that changes the disk.
    mutating func checkChange(_ operation: FileIOError.Operation, _ path: String) throws(FileIOError) {
        try check(operation, path)
        try checkPower(operation, path)
    }

    /// Counts a change and throws when the power goes during it.
    mutating func checkPower(_ operation: FileIOError.Operation, _ path: String) throws(FileIOError) {
        if !isPowered() { throw failure(operation, path, .device, "the simulated machine has no power") }
    }

    func failure(
        _ operation: FileIOError.Operation, _ path: String, _ reason: FileIOError.Reason, _ detail: String
    ) -> FileIOError {
        FileIOError(operation: operation, path: path, reason: reason, detail: detail)
    }

    /// Bytes of all files, for the capacity.
    var usedBytes: Int { nodes.reduce(0) { $0 + $1.content.count } }
}
