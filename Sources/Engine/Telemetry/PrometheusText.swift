// The one writer of the Prometheus text format 0.0.4: `/metrics`, LoadGen's result files and everything between.
// Families in the order of the caller, HELP and TYPE once each, values escaped. It keeps no state between texts.

/// Builds one exposition text.
public struct PrometheusText: Sendable {
    public enum Kind: String, Sendable {
        case gauge, counter, histogram, summary
    }

    /// A label and its value; values may hold anything, names are `[a-zA-Z_][a-zA-Z0-9_]*`.
    public typealias Label = (name: String, value: String)

    public private(set) var text = ""
    /// Families begun so far; a text has tens of them, so a list is enough.
    private var families: [String] = []

    public init() {}

    /// Begins a family; its samples must follow before the next one begins. HELP and TYPE are written the first time
    /// only.
    public mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        if families.contains(name) { return }
        families.append(name)
        text += "# HELP \(name) \(Self.escaped(help, quotes: false))\n# TYPE \(name) \(kind.rawValue)\n"
    }

    public mutating func sample(_ name: String, _ labels: [Label] = [], _ value: Double) {
        sample(name, rendered: Self.rendered(labels), value)
    }

    /// A sample whose labels were rendered before, as hot paths do.
    public mutating func sample(_ name: String, rendered labels: String, _ value: Double) {
        text += name
        text += labels
        text += " "
        text += Self.number(value)
        text += "\n"
    }

    /// `{a="b",c="d"}`, or nothing.
    public static func rendered(_ labels: [Label]) -> String {
        guard !labels.isEmpty else { return "" }
        return "{" + labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }.joined(separator: ",") + "}"
    }

    /// Shortest text that reads back as the same number; whole numbers without a point.
    public static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
