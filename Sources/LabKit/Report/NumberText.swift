// Numbers as people read them: thin groups of three, three significant digits of a time, no false precision.

/// Texts of numbers for tables and progress lines.
public enum NumberText {
    /// `1 204 331`
    public static func grouped(_ value: UInt64) -> String {
        let digits = String(value)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text += " " }
            text.append(digit)
        }
        return text
    }

    /// A rate or count of at least zero, rounded to a whole number above ten.
    public static func rate(_ value: Double) -> String {
        guard value.isFinite, value >= 0 else { return "–" }
        return value >= 10 ? grouped(UInt64(value.rounded())) : fixed(value, 1)
    }

    /// Seconds as milliseconds: `0.115`, `4.92`, `391`.
    public static func milliseconds(_ seconds: Double?) -> String {
        guard let seconds, seconds.isFinite else { return "–" }
        let value = seconds * 1000
        return fixed(value, value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0)
    }

    /// With exactly `digits` digits after the point.
    public static func fixed(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "–" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = UInt64((abs(value) * scale).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        if digits == 0 { return sign + String(scaled) }
        let whole = scaled / UInt64(scale)
        let fraction = String(scaled % UInt64(scale))
        return sign + String(whole) + "." + String(repeating: "0", count: digits - fraction.count) + fraction
    }
}
