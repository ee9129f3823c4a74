// Decimal numbers as Redis reads them (`string2ll`): one spelling for each number. `+5`, `05`, `-0`, blanks and numbers
// beyond 64 bits are no integers. It must never trap, whatever the bytes.

/// The numbers in commands.
enum RESPInteger {
    /// Reads all of `bytes`; nil when they are not exactly one integer.
    static func signed(_ bytes: some Collection<UInt8>) -> Int64? {
        guard bytes.first == UInt8(ascii: "-") else { return unsigned(bytes).flatMap(Int64.init(exactly:)) }
        guard let magnitude = unsigned(bytes.dropFirst()), magnitude > 0 else { return nil }
        if magnitude == Int64.min.magnitude { return .min }
        return Int64(exactly: magnitude).map { -$0 }
    }

    /// As ``signed(_:)``, without a sign.
    static func unsigned(_ bytes: some Collection<UInt8>) -> UInt64? {
        guard let first = bytes.first else { return nil }
        if first == UInt8(ascii: "0"), bytes.count > 1 { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let (tenfold, isTooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, isTooLargeStill) = tenfold.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            guard !isTooLarge, !isTooLargeStill else { return nil }
            value = sum
        }
        return value
    }
}
