// A disk in memory for these tests: it fails on command at the n-th call, and can be cut off like a machine that loses
// power, keeping what was synced and a seeded random part of what was not. It stands in for no real backend elsewhere.
import FileIO
import Synchronization

final class CrashableFileSystem: FileSystem {
    /// What the next calls have to expect.
    enum Fault: Sendable {
        /// From this call on nothing works: the machine is gone.
        case powerCut(atCall: Int)
        /// These calls fail, everything else goes on.
        case fail(FileIOError.Operation, FileIOError.Reason, suffix: String)
    }

    final class Node: Sendable {
        struct Content {
            var current: [UInt8] = []
            var durable: [UInt8] = []
        }
        let content: Mutex<Content>
        init(_ bytes: [UInt8] = []) { content = Mutex(Content(current: bytes, durable: bytes)) }
    }

    private enum NameChange {
        case set(String, Node)
        case remove(String)
        case rename(String, String)
    }

    private struct State {
        var calls = 0
        var fault: Fault?
        var names: [String: Node] = [:]
        var durableNames: [String: Node] = [:]
        var pending: [NameChange] = []
        var locked = false
    }

    private let state: Mutex<State>

    init(names: [String: Node] = [:]) {
        state = Mutex(State(names: names, durableNames: names))
    }

    var calls: Int { state.withLock { $0.calls } }

    func setFault(_ fault: Fault?) { state.withLock { $0.fault = fault } }

    /// Names of all files.
    var files: [String] { state.withLock { $0.names.keys.sorted() } }

    func bytes(_ path: String) -> [UInt8]? {
        state.withLock { $0.names[path] }.map { node in node.content.withLock { $0.current } }
    }

    func setBytes(_ path: String, _ bytes: [UInt8]) {
        state.withLock { $0.names[path] }?.content.withLock { $0 = .init(current: bytes, durable: bytes) }
    }

    /// A copy of everything as it is, as after a clean stop.
    func copy() -> CrashableFileSystem {
        let names = state.withLock { $0.names }
        return CrashableFileSystem(
            names: names.mapValues { node in Node(node.content.withLock { $0.current }) })
    }

    /// The disk as the machine finds it after the power came back.
    func afterPowerCut(seed: UInt64) -> CrashableFileSystem {
        var random = SplitMix(seed)
        let (durable, pending) = state.withLock { ($0.durableNames, $0.pending) }
        var names = durable
        // The journal commits names in order: a prefix of the changes survives.
        for change in pending.prefix(Int(random.next() % UInt64(pending.count + 1))) { Self.apply(change, &names) }
        var copies: [ObjectIdentifier: Node] = [:]
        var result: [String: Node] = [:]
        for (path, node) in names.sorted(by: { $0.key < $1.key }) {
            let copy = copies[ObjectIdentifier(node)] ?? Node(Self.survivor(of: node, &random))
            copies[ObjectIdentifier(node)] = copy
            result[path] = copy
        }
        return CrashableFileSystem(names: result)
    }

    private static func survivor(of node: Node, _ random: inout SplitMix) -> [UInt8] {
        let (current, durable) = node.content.withLock { ($0.current, $0.durable) }
        if current == durable { return durable }
        let size = random.next() % 3 == 0 ? durable.count : current.count
        var bytes = [UInt8](repeating: 0, count: size)
        for start in stride(from: 0, to: size, by: 512) {
            let source = random.next() % 2 == 0 ? current : durable
            for position in start..<min(start + 512, size) where position < source.count {
                bytes[position] = source[position]
            }
        }
        return bytes
    }

    private static func apply(_ change: NameChange, _ names: inout [String: Node]) {
        switch change {
        case .set(let path, let node): names[path] = node
        case .remove(let path): names[path] = nil
        case .rename(let source, let destination): names[destination] = names.removeValue(forKey: source)
        }
    }

    fileprivate func step(_ operation: FileIOError.Operation, _ path: String) throws(FileIOError) {
        let reason: FileIOError.Reason? = state.withLock { state in
            state.calls += 1
            switch state.fault {
            case .powerCut(let call)? where state.calls >= call: return .device
            case .fail(operation, let reason, let suffix)? where path.contains(suffix): return reason
            default: return nil
            }
        }
        if let reason { throw FileIOError(operation: operation, path: path, reason: reason, detail: "injected") }
    }

    private func change(_ change: NameChange) {
        state.withLock { state in
            Self.apply(change, &state.names)
            state.pending.append(change)
        }
    }

    private func missing(_ operation: FileIOError.Operation, _ path: String) -> FileIOError {
        FileIOError(operation: operation, path: path, reason: .notFound, detail: "no such file")
    }

    func open(_ path: String, _ mode: OpenMode) throws(FileIOError) -> any File {
        try step(.open, path)
        if let node = state.withLock({ $0.names[path] }) {
            if mode == .create {
                throw FileIOError(operation: .open, path: path, reason: .alreadyExists, detail: "it exists")
            }
            return CrashableFile(path: path, node: node, system: self)
        }
        guard mode == .create || mode == .createOrOpen else { throw missing(.open, path) }
        let node = Node()
        change(.set(path, node))
        return CrashableFile(path: path, node: node, system: self)
    }

    func createDirectory(_ path: String) throws(FileIOError) { try step(.createDirectory, path) }

    func list(_ path: String) throws(FileIOError) -> [String] {
        try step(.list, path)
        return files.filter { $0.hasPrefix(path + "/") }.map { String($0.dropFirst(path.count + 1)) }
    }

    func exists(_ path: String) throws(FileIOError) -> Bool {
        try step(.exists, path)
        return state.withLock { $0.names[path] != nil }
    }

    func rename(_ source: String, to destination: String) throws(FileIOError) {
        try step(.rename, source)
        guard state.withLock({ $0.names[source] }) != nil else { throw missing(.rename, source) }
        change(.rename(source, destination))
    }

    func link(_ source: String, to destination: String) throws(FileIOError) {
        try step(.link, source)
        guard let node = state.withLock({ $0.names[source] }) else { throw missing(.link, source) }
        change(.set(destination, node))
    }

    func remove(_ path: String) throws(FileIOError) {
        try step(.remove, path)
        guard state.withLock({ $0.names[path] }) != nil else { throw missing(.remove, path) }
        change(.remove(path))
    }

    func removeTree(_ path: String) throws(FileIOError) {
        for file in files where file.hasPrefix(path + "/") { try remove(file) }
    }

    func syncDirectory(_ path: String) throws(FileIOError) {
        try step(.syncDirectory, path)
        state.withLock { state in
            state.durableNames = state.names
            state.pending = []
        }
    }

    func lock(_ path: String) throws(FileIOError) -> any DirectoryLock {
        try step(.lock, path)
        let free = state.withLock { state in
            defer { state.locked = true }
            return !state.locked
        }
        guard free else { throw FileIOError(operation: .lock, path: path, reason: .locked, detail: "locked") }
        return Lock(self)
    }

    private final class Lock: DirectoryLock {
        let system: CrashableFileSystem
        init(_ system: CrashableFileSystem) { self.system = system }
        func release() { system.state.withLock { $0.locked = false } }
    }
}

private final class CrashableFile: File {
    let path: String
    private let node: CrashableFileSystem.Node
    private let system: CrashableFileSystem

    init(path: String, node: CrashableFileSystem.Node, system: CrashableFileSystem) {
        self.path = path
        self.node = node
        self.system = system
    }

    func size() throws(FileIOError) -> UInt64 {
        try system.step(.size, path)
        return node.content.withLock { UInt64($0.current.count) }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        try system.step(.read, path)
        let bytes = node.content.withLock { Array($0.current.dropFirst(Int(position)).prefix(buffer.count)) }
        buffer.copyBytes(from: bytes)
        return bytes.count
    }

    func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError) {
        try system.step(.write, path)
        let bytes = buffers.flatMap { Array($0) }
        node.content.withLock { content in
            let end = Int(position) + bytes.count
            if content.current.count < end {
                content.current += [UInt8](repeating: 0, count: end - content.current.count)
            }
            content.current.replaceSubrange(Int(position)..<end, with: bytes)
        }
        if durability == .power { try sync() }
    }

    func sync() throws(FileIOError) {
        try system.step(.sync, path)
        node.content.withLock { $0.durable = $0.current }
    }

    func truncate(to size: UInt64) throws(FileIOError) {
        try system.step(.truncate, path)
        node.content.withLock { content in
            let missing = Int(size) - content.current.count
            content.current = content.current.prefix(Int(size)) + [UInt8](repeating: 0, count: max(0, missing))
        }
    }

    func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError) {
        let zeros = [UInt8](repeating: 0, count: Int(count))
        try write(bytes: zeros, at: position)
    }
}
