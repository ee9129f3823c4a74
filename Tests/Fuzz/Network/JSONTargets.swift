// JSON from strangers and operators: the reader alone, the fields of a request's body, a configuration file.
@testable import Server

func jsonTargets() -> [FuzzTarget] {
    [
        FuzzTarget(name: "json") { mutator in
            let bytes = document(bodies + files, &mutator)
            let value = try JSONReader.read(bytes)
            // What is read is written, and read again, as the same.
            let text = spelled(value)
            guard let again = try? JSONReader.read(text) else { preconditionFailure("its own spelling is refused") }
            precondition(spelled(again) == text, "a value with two spellings")
        },
        FuzzTarget(name: "configuration-file") { mutator in
            let bytes = document(files, &mutator)
            let values = try SettingValues(source: "fuzz", json: bytes)
            for (setting, text) in values.texts { precondition(setting.problem(with: text) == nil) }
        },
        FuzzTarget(name: "base64") { mutator in
            var text = Array("AAEC_-8=".utf8)
            mutator.reshape(&text, donor: Array("+/+/".utf8))
            guard let bytes = Base64.decoded(text) else { throw Refused() }
            precondition(bytes.count <= text.count)
        },
    ]
}

private let bodies = [
    #"{"key":"name","value":"ad\u00e1\ud83d\ude00\n"}"#, #"{"keyBase64":"AAEC","value":null,"by":-12.5e+3}"#,
    #"{"client":7,"sequence":18446744073709551615,"acknowledged":0}"#, #"[[],{},[{"a":[true,false,null]}],"",-0]"#,
]
private let files = [
    #"{"strata": {"id": "node1", "address": ":7001", "peers": [":7002", "n3=host:7003"], "peer": {"port": 7004}}}"#,
    #"{"strata": {"port": 7001, "join": true, "heartbeat": {"interval": 50}, "log": {"retained": 1, "level": "info"}}}"#,
    #"{"strata": {"engine": "lsm", "io": "posix", "snapshot": {"rate": 134217728}, "fault": ["power-loss"]}}"#,
]

private func document(_ documents: [String], _ mutator: inout Mutator) -> [UInt8] {
    var bytes = Array(mutator.pick(documents).utf8)
    switch mutator.below(4) {
    case 0: mutator.reshape(&bytes, donor: Array(mutator.pick(documents).utf8))
    case 1:
        // Another value, which is whole, in the place of one.
        let values = ["0", "-1", "1e999", "\"x\"", "null", "[]", "{}", "\"\\u0000\"", "true", "99999999999999999999"]
        let colons = bytes.indices.filter { bytes[$0] == UInt8(ascii: ":") }
        if colons.isEmpty { break }
        let start = mutator.pick(colons) + 1
        let end = bytes[start...].firstIndex { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "}") } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: Array(mutator.pick(values).utf8))
    case 2:
        // Within so many lists.
        let depth = mutator.below(40)
        bytes = [UInt8](repeating: UInt8(ascii: "["), count: depth) + bytes
        bytes += [UInt8](repeating: UInt8(ascii: "]"), count: mutator.chance(1, in: 6) ? mutator.below(40) : depth)
    default:
        // A byte of a text.
        let place = mutator.below(bytes.count)
        bytes[place] = UInt8(truncatingIfNeeded: mutator.next())
    }
    return bytes
}

private func spelled(_ value: JSONValue) -> [UInt8] {
    func text(_ bytes: [UInt8]) -> [UInt8] {
        var text = [UInt8(ascii: "\"")]
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                text += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: text.append(byte)
            }
        }
        return text + [UInt8(ascii: "\"")]
    }
    switch value {
    case .null: return Array("null".utf8)
    case .bool(let flag): return Array("\(flag)".utf8)
    case .number(let digits): return Array(digits.utf8)
    case .string(let bytes): return text(bytes)
    case .array(let items):
        return [UInt8(ascii: "[")] + items.map(spelled).joined(separator: [UInt8(ascii: ",")]) + [UInt8(ascii: "]")]
    case .object(let fields):
        let parts = fields.map { text(Array($0.name.utf8)) + [UInt8(ascii: ":")] + spelled($0.value) }
        return [UInt8(ascii: "{")] + parts.joined(separator: [UInt8(ascii: ",")]) + [UInt8(ascii: "}")]
    }
}
