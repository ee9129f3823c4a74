// Asks a node over HTTP how it is: one short request on a connection of its own, with a deadline. Not for load.
import Foundation
import Glibc
import LabKit

/// What `/status` says.
struct NodeReport: Decodable, Hashable, Sendable {
    var nodeId: String
    var state: String
    var term: UInt64
    var commitIndex: UInt64
    var logLength: UInt64
    var leader: String
    var isLeader: Bool
}

/// What `/cluster` says.
struct MembersReport: Decodable, Hashable, Sendable {
    struct Member: Decodable, Hashable, Sendable {
        var name: String
        /// Groups in which it votes.
        var votesIn: Int
    }
    struct Group: Decodable, Hashable, Sendable {
        var group: String
    }
    var members: [Member]
    var groups: [Group]
    /// Nodes that asked to be added.
    var applicants: [String]
}

struct NodeProbe: Sendable {
    let address: SocketAddress

    private static let responseBytesMax = 4 << 20

    /// Nil when the node does not answer properly within `seconds`.
    func status(seconds: Double = 0.5) -> NodeReport? {
        guard let body = get("/status", seconds: seconds) else { return nil }
        return try? JSONDecoder().decode(NodeReport.self, from: Data(body))
    }

    /// The members of the cluster as the node sees them.
    func members(seconds: Double = 0.5) -> MembersReport? {
        guard let body = get("/cluster", seconds: seconds) else { return nil }
        return try? JSONDecoder().decode(MembersReport.self, from: Data(body))
    }

    /// The body of a 200 answer.
    func get(_ path: String, seconds: Double) -> [UInt8]? { ask("GET", path, seconds: seconds) }

    /// As ``get(_:seconds:)``, with any method.
    func ask(_ method: String, _ path: String, json: String = "", seconds: Double) -> [UInt8]? {
        let deadline = MonotonicClock.now() + UInt64(seconds * 1e9)
        let socket = address.beginConnect()
        guard socket >= 0 else { return nil }
        defer { close(socket) }
        guard NodeProbe.wait(socket, for: POLLOUT, until: deadline) else { return nil }
        let head = "\(method) \(path) HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n"
        let length = method == "GET" ? "" : "Content-Length: \(json.utf8.count)\r\n"
        let request = Array((head + length + "\r\n" + json).utf8)
        guard Glibc.send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            return nil
        }
        var response: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        while NodeProbe.wait(socket, for: POLLIN, until: deadline), response.count < NodeProbe.responseBytesMax {
            let count = recv(socket, &chunk, chunk.count, 0)
            if count < 0 {
                if errno == EAGAIN || errno == EINTR { continue }
                return nil
            }
            if count == 0 { break }
            response.append(contentsOf: chunk[..<count])
            if let body = NodeProbe.body(of: response, isComplete: false) { return body }
        }
        return NodeProbe.body(of: response, isComplete: true)
    }

    private static func wait(_ socket: Int32, for events: Int32, until deadline: UInt64) -> Bool {
        while true {
            let now = MonotonicClock.now()
            guard now < deadline else { return false }
            var waiting = pollfd(fd: socket, events: Int16(events), revents: 0)
            let ready = poll(&waiting, 1, Int32((deadline - now) / 1_000_000) + 1)
            if ready > 0 { return true }
            if ready < 0, errno != EINTR { return false }
        }
    }

    /// The body of an HTTP/1.1 response with status 200; nil while it is not complete or for any other status.
    /// - Parameter isComplete: the connection has ended, so a body without a length ends here.
    static func body(of response: [UInt8], isComplete: Bool) -> [UInt8]? {
        guard let headEnd = response.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let head = String(decoding: response[..<headEnd.lowerBound], as: UTF8.self).lowercased()
        let lines = head.split(separator: "\r\n")
        guard let status = lines.first, status.split(separator: " ").dropFirst().first == "200" else { return nil }
        let body = response[headEnd.upperBound...]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0] == "content-length" else { continue }
            guard let count = Int(parts[1].trimmingCharacters(in: .whitespaces)) else { return nil }
            return body.count >= count ? Array(body.prefix(count)) : nil
        }
        return isComplete ? Array(body) : nil
    }
}
