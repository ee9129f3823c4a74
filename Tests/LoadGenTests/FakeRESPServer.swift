// A key-value server for tests: real sockets, one thread per connection, a dictionary, and a hook that may answer
// wrongly, lie about a write, or hang up.
import Glibc
import LabKit
import Synchronization

@testable import LoadGen

final class FakeRESPServer: Sendable {
    enum Answer {
        /// Do what was asked.
        case honest
        /// Send these bytes instead.
        case text(String)
        /// Send this value as a bulk string.
        case bytes([UInt8])
        /// Say OK to a write and forget it.
        case lose
        /// Close the connection without an answer.
        case hangUp
    }

    typealias Hook = @Sendable (_ command: [String], _ number: Int) -> Answer

    private struct State {
        var values: [String: [UInt8]] = [:]
        var commands = 0
        var open: [Int32] = []
        var isStopped = false
    }

    let address: SocketAddress
    private let listener: Int32
    private let state = Mutex(State())
    private let hook: Hook

    init(port: UInt16 = 0, hook: @escaping Hook = { _, _ in .honest }) throws {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        listener = socket
        var one: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var local = sockaddr_in()
        local.sin_family = sa_family_t(AF_INET)
        local.sin_port = port.bigEndian
        local.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &local) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { local in
                bind(socket, local, size) == 0 && listen(socket, 128) == 0 && getsockname(socket, local, &size) == 0
            }
        }
        guard bound else { throw LabError("bind", "127.0.0.1", errno: errno) }
        address = try SocketAddress(host: "127.0.0.1", port: UInt16(bigEndian: local.sin_port))
        self.hook = hook
        WorkerThread { [self] in accept() }.detach()
    }

    var values: [String: [UInt8]] { state.withLock { $0.values } }
    var commands: Int { state.withLock { $0.commands } }

    /// Ends the listener and every connection, as a killed process would. Each descriptor is closed by the thread that
    /// reads from it, so that none is closed twice or after its number went to somebody else.
    func stop() {
        state.withLock { state in
            guard !state.isStopped else { return }
            state.isStopped = true
            shutdown(listener, Int32(SHUT_RDWR))
            for socket in state.open { shutdown(socket, Int32(SHUT_RDWR)) }
        }
    }

    private func accept() {
        while true {
            let socket = Glibc.accept(listener, nil, nil)
            guard socket >= 0 else { break }
            let isWelcome = state.withLock { state in
                if !state.isStopped { state.open.append(socket) }
                return !state.isStopped
            }
            guard isWelcome else {
                close(socket)
                break
            }
            WorkerThread { [self] in serve(socket) }.detach()
        }
        state.withLock { state in
            state.isStopped = true
            close(listener)
        }
    }

    private func serve(_ socket: Int32) {
        var buffer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        loop: while true {
            while let (command, count) = FakeRESPServer.command(buffer) {
                buffer.removeFirst(count)
                guard let reply = reply(command) else { break loop }
                guard send(socket, reply, reply.count, Int32(MSG_NOSIGNAL)) == reply.count else { break loop }
            }
            let count = recv(socket, &chunk, chunk.count, 0)
            guard count > 0 else { break }
            buffer.append(contentsOf: chunk[..<count])
        }
        state.withLock { state in
            state.open.removeAll { $0 == socket }
            close(socket)
        }
    }

    private func reply(_ command: [[UInt8]]) -> [UInt8]? {
        let words = command.map { String(decoding: $0, as: UTF8.self) }
        let number = state.withLock { state in
            state.commands += 1
            return state.commands
        }
        switch hook(words, number) {
        case .text(let text): return Array(text.utf8)
        case .bytes(let value): return Array("$\(value.count)\r\n".utf8) + value + Array("\r\n".utf8)
        case .hangUp: return nil
        case .lose: return Array("+OK\r\n".utf8)
        case .honest: break
        }
        switch words[0] {
        case "SET":
            state.withLock { $0.values[words[1]] = command[2] }
            return Array("+OK\r\n".utf8)
        case "GET":
            guard let value = state.withLock({ $0.values[words[1]] }) else { return Array("$-1\r\n".utf8) }
            return Array("$\(value.count)\r\n".utf8) + value + Array("\r\n".utf8)
        default:
            return Array("-ERR unknown command\r\n".utf8)
        }
    }

    /// The first complete array of bulk strings and its length in bytes.
    private static func command(_ bytes: [UInt8]) -> (words: [[UInt8]], count: Int)? {
        var position = 0
        func line() -> String? {
            guard let end = bytes[position...].firstIndex(of: 10) else { return nil }
            defer { position = end + 1 }
            return String(decoding: bytes[position..<end - 1], as: UTF8.self)
        }
        guard let head = line(), let count = Int(head.dropFirst()) else { return nil }
        var words: [[UInt8]] = []
        for _ in 0..<count {
            guard let head = line(), let length = Int(head.dropFirst()), position + length + 2 <= bytes.count else {
                return nil
            }
            words.append(Array(bytes[position..<position + length]))
            position += length + 2
        }
        return (words, position)
    }
}
