// Where settings come from, each source checked against the table before anything is started: the environment, and the
// configuration file with its JSON types. What a source has and the table does not is refused with the nearest name.
// The result of a source is text by setting, which the flags go before.
import Configuration
import Foundation

/// The values of one source.
struct SettingValues: Sendable {
    /// As an operator would look for it: "the environment", "the configuration file strata.json".
    let source: String
    private(set) var texts: [Setting: String] = [:]

    init(source: String) {
        self.source = source
    }

    /// Takes a checked value.
    mutating func set(_ setting: Setting, _ text: String) {
        texts[setting] = text
    }

    /// `port` is short for `address`, within one source.
    /// - Parameters: how this source calls the two.
    func resolved(calling name: (Setting) -> String) throws(ServerError) -> SettingValues {
        guard let port = texts[.port] else { return self }
        guard texts[.address] == nil else {
            throw .configuration("\(source): give \(name(.address)) or \(name(.port)), not both")
        }
        var values = self
        values.texts[.port] = nil
        values.texts[.address] = "\(ListenAddress.loopback):\(port)"
        return values
    }

    /// For ConfigReader, which puts the sources on top of each other.
    var provider: InMemoryProvider {
        var values: [AbsoluteConfigKey: ConfigValue] = [:]
        for (setting, text) in texts {
            values[AbsoluteConfigKey(["strata"] + setting.path)] = ConfigValue(.string(text), isSecret: false)
        }
        return InMemoryProvider(name: source, values: values)
    }
}

// MARK: - The environment

extension SettingValues {
    /// Takes the variables that begin with `STRATA_`.
    /// - Throws: for one that is no setting, or whose value is not usable.
    init(environment: [String: String]) throws(ServerError) {
        self.init(source: "the environment")
        let known = Setting.all.map(\.variable) + [Setting.fileVariable]
        for (variable, text) in environment.sorted(by: { $0.key < $1.key })
        where variable.hasPrefix("STRATA_") && !Self.isServiceLink(variable, text) {
            if variable == Setting.fileVariable { continue }
            guard let setting = Setting.all.first(where: { $0.variable == variable }) else {
                throw .configuration(
                    "the environment variable \(variable) is no setting; \(NearestName.hint(variable, in: known))")
            }
            guard setting.problem(with: text) == nil else {
                throw .configuration(
                    "the environment variable \(variable) is '\(text)'; \(setting.expectation) is expected")
            }
            set(setting, text)
        }
        self = try resolved(calling: \.variable)
    }

    /// Kubernetes sets variables for each service of a namespace: a service that is called `strata`, or `strata-…`, has
    /// some that begin as ours do (`STRATA_SERVICE_HOST`, `STRATA_PORT=tcp://…`, `STRATA_PORT_9092_TCP_ADDR`).
    private static func isServiceLink(_ variable: String, _ text: String) -> Bool {
        if variable.hasSuffix("_SERVICE_HOST") || variable.contains("_SERVICE_PORT") { return true }
        if variable.hasSuffix("_PORT"), text.contains("://") { return true }
        let parts = variable.split(separator: "_")
        guard let place = parts.firstIndex(of: "PORT"), place + 2 < parts.count else { return false }
        return Int(parts[place + 1]) != nil && ["TCP", "UDP", "SCTP"].contains(parts[place + 2])
    }
}

// MARK: - The file

extension SettingValues {
    /// More bytes than a configuration file has.
    static let fileBytesMax = 1024 * 1024

    /// Reads a configuration file: `{"strata": {"id": "node1", "peers": [":7002", ":7003"], "peer": {"port": 7004}}}`.
    init(file path: String) throws(ServerError) {
        let bytes: [UInt8]
        do {
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? handle.close() }
            bytes = Array(try handle.read(upToCount: Self.fileBytesMax + 1) ?? Data())
        } catch {
            let reason = ((error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError)?.localizedDescription
            throw .configuration(
                "the configuration file \(path) can't be read: \(reason ?? error.localizedDescription)")
        }
        try self.init(source: "the configuration file \(path)", json: bytes)
    }

    init(source: String, json bytes: [UInt8]) throws(ServerError) {
        self.init(source: source)
        let example = #"write {"strata": {"id": "node1", "address": ":7001"}}"#
        guard bytes.count <= Self.fileBytesMax else {
            throw .configuration("\(source) has more than \(Self.fileBytesMax) bytes; is it the right one?")
        }
        let document: JSONValue
        do throws(JSONFailure) {
            document = try JSONReader.read(bytes)
        } catch {
            throw .configuration("\(source) is not JSON: \(error); \(example)")
        }
        guard case .object(let top) = document else {
            throw .configuration("\(source) holds \(document.kind); an object is expected: \(example)")
        }
        for field in top where field.name != "strata" {
            let belongs = Setting.all.contains { $0.path[0] == field.name }
            throw .configuration(
                "\(source): '\(field.name)' is no known key; "
                    + (belongs
                        ? "it belongs within \"strata\": \(example)" : NearestName.hint(field.name, in: ["strata"])))
        }
        guard let strata = top.first?.value else {
            throw .configuration("\(source) has no \"strata\"; \(example)")
        }
        guard case .object(let fields) = strata else {
            throw .configuration("\(source): 'strata' is \(strata.kind); an object is expected: \(example)")
        }
        try take(fields, below: [])
        self = try resolved(calling: \.key)
    }

    private mutating func take(_ fields: [JSONValue.Field], below path: [String]) throws(ServerError) {
        for field in fields {
            let path = path + [field.name]
            let key = "strata." + path.joined(separator: ".")
            if let setting = Setting.all.first(where: { $0.path == path }) {
                set(setting, try text(of: field.value, for: setting))
                continue
            }
            let below = Setting.all.filter { $0.path.count > path.count && $0.path.starts(with: path) }
            guard !below.isEmpty else {
                let nested = Setting.all.first { $0.name == field.name || $0.flag == "--" + field.name }
                let hint =
                    nested.map { "it is nested: \"\($0.path[0])\": {\"\($0.path.dropFirst().joined())\": …}" }
                    ?? NearestName.hint(key, in: Setting.all.map(\.key))
                throw .configuration("\(source): '\(key)' is no known key; \(hint)")
            }
            guard case .object(let inner) = field.value else {
                let names = below.map { "'\($0.key)'" }.joined(separator: ", ")
                throw .configuration("\(source): '\(key)' is \(field.value.kind); an object with \(names) is expected")
            }
            try take(inner, below: path)
        }
    }

    /// A value in the JSON types that are natural for its setting, as the text that a flag would have.
    private func text(of value: JSONValue, for setting: Setting) throws(ServerError) -> String {
        let text: String?
        switch (setting.kind, value) {
        case (.number, .number(let digits)): text = digits
        case (.flag, .bool(let flag)): text = "\(flag)"
        case (.peers, .array(let items)), (.faults, .array(let items)): text = Self.joined(items)
        case (_, .string(let bytes)): text = String(decoding: bytes, as: UTF8.self)
        default: text = nil
        }
        guard let text, setting.problem(with: text) == nil else {
            throw .configuration(
                "\(source): '\(setting.key)' is \(value.kind); \(setting.expectation) is expected"
                    + (value == .null ? ", or no such key for the default" : ""))
        }
        return text
    }

    /// Nil unless all are texts of one item each.
    private static func joined(_ items: [JSONValue]) -> String? {
        var texts: [String] = []
        for item in items {
            guard case .string(let bytes) = item, !bytes.contains(UInt8(ascii: ",")), !bytes.isEmpty else { return nil }
            texts.append(String(decoding: bytes, as: UTF8.self))
        }
        return texts.joined(separator: ",")
    }
}
