// Keys and values over HTTP. Where a key is asked for it stands in the query (`key`, percent escapes for other bytes,
// or `keyBase64`) or, when the query has none, in a JSON body (`{"key":…}` or `{"keyBase64":…}`), which is the place
// for long ones: a query has a limit (HTTPConnectionHandler.headFieldBytesMax), a body takes every legal key. Values
// likewise: `value` or `valueBase64`. `/get` takes `consistency=lease` or `stale` too, the latter with
// `maxStaleness=<ms>`.
import Cluster
import HTTPTypes
import Hummingbird
import KeyValue

extension HTTPRoutes {
    private static let keyNames = ["key", "keyBase64"]
    private static let sessionNames = ["client", "sequence", "acknowledged"]

    /// The key of a query; nil when it names none.
    private func key(in parameters: QueryParameters) throws(HTTPProblem) -> [UInt8]? {
        switch (parameters.first("key"), parameters.first("keyBase64")) {
        case (_?, _?): throw .badRequest("give 'key' or 'keyBase64', not both")
        case (let key?, nil): return key
        case (nil, let text?):
            // In a query a plus sign is a blank; whoever forgot to escape it meant the sign.
            guard let key = Base64.decoded(text.map { $0 == UInt8(ascii: " ") ? UInt8(ascii: "+") : $0 }) else {
                throw .badRequest("'keyBase64' is not base64")
            }
            return key
        case (nil, nil): return nil
        }
    }

    private func key(in body: HTTPBody) throws(HTTPProblem) -> [UInt8] {
        guard let key = try body.bytes("key") else { throw body.missing("key") }
        return key
    }

    func get(_ request: Request, _ context: HTTPRequestContext) async throws -> Response {
        let parameters = try query(request, known: Self.keyNames + ["consistency", "maxStaleness"])
        var consistency = word("consistency", in: parameters)
        var staleness = word("maxStaleness", in: parameters)
        var key = try key(in: parameters)
        if key == nil {
            guard request.method == .post else {
                throw HTTPProblem.badRequest(
                    "the parameter 'key' is missing; write /get?key=name, or send {\"key\":\"name\"} by POST")
            }
            let body = try await HTTPBody(
                of: request, context, known: Self.keyNames + ["consistency", "maxStaleness"],
                example: #"{"key":"name"}"#)
            key = try self.key(in: body)
            consistency = try body.word("consistency") ?? consistency
            staleness = try body.number("maxStaleness", UInt32.self).map(String.init) ?? staleness
        }
        return try await get(key ?? [], try Self.consistency(consistency, staleness))
    }

    private static func consistency(_ word: String?, _ staleness: String?) throws(HTTPProblem) -> ReadConsistency {
        switch word {
        case "stale"?:
            guard let staleness else { return .stale }
            guard let milliseconds = UInt32(staleness), milliseconds > 0 else {
                throw .badRequest("'\(staleness)' is no maxStaleness; give milliseconds, such as 500")
            }
            return .bounded(milliseconds: milliseconds)
        case nil, "linearizable"?, "lease"?:
            if staleness != nil { throw .badRequest("'maxStaleness' goes with consistency=stale only") }
            return word == "lease" ? .lease : .linearizable
        case let other?:
            throw .badRequest("'\(other)' is no consistency; use linearizable, lease or stale")
        }
    }

    private func get(_ key: [UInt8], _ consistency: ReadConsistency) async throws -> Response {
        let value = try await pending.run(.read) { store.get(key: key, consistency: consistency, completion: $0) }.get()
        var body = JSONText(capacity: key.count + (value?.count ?? 0) + 64)
        body.write("key", bytes: key)
        body.write("value", bytes: value ?? [])
        body.write("found", value != nil)
        return .json(value == nil ? .notFound : .ok, body.finished())
    }

    func set(_ request: Request, _ context: HTTPRequestContext) async throws -> Response {
        _ = try query(request, known: [])
        let body = try await HTTPBody(
            of: request, context, known: Self.keyNames + ["value", "valueBase64"] + Self.sessionNames,
            example: #"{"key":"name","value":"x"}"#)
        let key = try key(in: body)
        guard let value = try body.bytes("value") else { throw body.missing("value") }
        return try await write(.put(key: key, value: value), try body.session())
    }

    func put(_ request: Request) async throws -> Response {
        let parameters = try query(request, known: Self.keyNames + ["val"] + Self.sessionNames)
        let example = "write /put?key=hello&val=world"
        guard let key = try key(in: parameters) else {
            throw HTTPProblem.badRequest("the parameter 'key' is missing; \(example)")
        }
        guard let value = parameters.first("val") else {
            throw HTTPProblem.badRequest("the parameter 'val' is missing; \(example)")
        }
        return try await write(.put(key: key, value: value), try session(parameters))
    }

    func delete(_ request: Request, _ context: HTTPRequestContext) async throws -> Response {
        let parameters = try query(request, known: Self.keyNames + Self.sessionNames)
        if let key = try key(in: parameters) { return try await write(.delete(key: key), try session(parameters)) }
        let body = try await HTTPBody(
            of: request, context, known: Self.keyNames + Self.sessionNames, example: #"{"key":"name"}"#)
        return try await write(.delete(key: try key(in: body)), try body.session() ?? session(parameters))
    }

    func increment(_ request: Request, _ context: HTTPRequestContext) async throws -> Response {
        let parameters = try query(request, known: Self.keyNames + ["by"] + Self.sessionNames)
        guard let key = try key(in: parameters) else {
            let body = try await HTTPBody(
                of: request, context, known: Self.keyNames + ["by"] + Self.sessionNames,
                example: #"{"key":"visits","by":1}"#)
            return try await increment(
                try self.key(in: body), by: try body.number("by", Int64.self) ?? 1,
                try body.session() ?? session(parameters))
        }
        var by: Int64 = 1
        if let text = word("by", in: parameters) {
            guard let number = Int64(text) else {
                throw HTTPProblem.badRequest("the parameter 'by' must be a number of 64 bits, not '\(text)'")
            }
            by = number
        }
        return try await increment(key, by: by, try session(parameters))
    }

    private func increment(_ key: [UInt8], by: Int64, _ session: WriteSequence?) async throws -> Response {
        let bits = try await pending.run(.write) {
            store.write(.increment(key: key, by: by), session: session, completion: $0)
        }.get()
        var body = JSONText()
        body.write("success", true)
        body.write("value", Int64(bitPattern: bits))
        return .json(.ok, body.finished())
    }

    private func write(_ write: KeyValueWrite, _ session: WriteSequence?) async throws -> Response {
        let index = try await pending.run(.write) { store.write(write, session: session, completion: $0) }.get()
        var body = JSONText()
        body.write("success", true)
        body.write("index", index)
        return .json(.ok, body.finished())
    }
}
