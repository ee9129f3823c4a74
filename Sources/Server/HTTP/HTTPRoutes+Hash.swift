// `GET /hash?group=kv[&index=N][&from=M]`: a hash of a group's replicated state, for comparing nodes. `group` is `kv`,
// `controller` or a topic partition's number as metrics name it (`partition-16`, or `16`). With `index` the answer
// waits until that entry is applied here and is of that very moment, unless the node was past it: `applied` says which
// entry it was.
import Cluster
import Hummingbird
import StrataNode

extension HTTPRoutes {
    func stateHash(_ request: Request) async throws -> Response {
        let parameters = try query(request, known: ["group", "index", "from"])
        let name = parameters.first("group").map { String(decoding: $0, as: UTF8.self) } ?? "kv"
        guard let group = Self.group(named: name) else {
            throw HTTPProblem.badRequest("'\(name)' is no group; use kv, controller or partition-16")
        }
        let index = try number("index", in: parameters)
        let from = try number("from", in: parameters)
        let found = try await hash(request, group, index, from)
        var body = JSONText()
        body.write("group", group == .keyValue ? "kv" : "\(group)")
        body.write("applied", found.applied)
        body.write("hash", Self.hexadecimal(found.hash))
        if group == .keyValue {
            body.write("sessions", Self.hexadecimal(found.sessions))
            body.write("keys", found.keys)
        } else {
            body.write("first", found.first)
        }
        return .json(.ok, body.finished())
    }

    /// Makes the hash, and gives it up when its client goes away or its time is over.
    private func hash(
        _ request: Request, _ group: GroupID, _ index: UInt64?, _ from: UInt64?
    ) async throws -> GroupStateHash {
        let end = StreamEnd()
        defer { end.reach() }
        return try await request.body.consumeWithCancellationOnInboundClose { _ in
            try await withTaskCancellationHandler {
                try await pending.run(.read, until: end) {
                    hashes.stateHash(
                        group: group, index: index, from: from, unless: { end.isReached }, completion: $0)
                }.get()
            } onCancel: {
                end.reach()
            }
        }
    }

    static func group(named name: String) -> GroupID? {
        switch name {
        case "kv", "keyvalue": return .keyValue
        case "controller": return .controller
        default:
            let digits = name.hasPrefix("partition-") ? name.dropFirst("partition-".count) : name[...]
            guard let number = UInt64(digits), number >= GroupID.firstPartition.rawValue else { return nil }
            return GroupID(rawValue: number)
        }
    }

    /// 16 digits.
    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
