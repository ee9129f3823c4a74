// Patterns of names as `CONFIG GET` takes them: `*`, `?`, `[abc]`, `[^a-z]` and `\` before a byte that means itself.
// Upper and lower case are the same. It must never take longer than the product of both lengths, whatever the pattern.

/// A pattern and the question whether a name matches it.
struct RESPGlob {
    private enum Part {
        case any
        case one
        case byte(UInt8)
        case set([ClosedRange<UInt8>], isNegated: Bool)

        func matches(_ byte: UInt8) -> Bool {
            switch self {
            case .any: false
            case .one: true
            case .byte(let wanted): wanted == byte
            case .set(let ranges, let isNegated): ranges.contains { $0.contains(byte) } != isNegated
            }
        }
    }

    private var parts: [Part] = []

    /// Reads a pattern. Every sequence of bytes is one: a bracket that is never closed ends with the pattern.
    init(_ pattern: [UInt8]) {
        var index = 0
        while index < pattern.count {
            switch pattern[index] {
            case UInt8(ascii: "*"):
                // Several in a row say no more than one.
                if case .any? = parts.last { break }
                parts.append(.any)
            case UInt8(ascii: "?"): parts.append(.one)
            case UInt8(ascii: "["): index = readSet(pattern, from: index + 1)
            case UInt8(ascii: "\\") where index + 1 < pattern.count:
                index += 1
                parts.append(.byte(Self.lowercased(pattern[index])))
            default: parts.append(.byte(Self.lowercased(pattern[index])))
            }
            index += 1
        }
    }

    /// Reads a set of bytes; the index of the bracket that closes it, or of the pattern's last byte.
    private mutating func readSet(_ pattern: [UInt8], from start: Int) -> Int {
        var index = start
        let isNegated = index < pattern.count && pattern[index] == UInt8(ascii: "^")
        if isNegated { index += 1 }
        var ranges: [ClosedRange<UInt8>] = []
        while index < pattern.count, pattern[index] != UInt8(ascii: "]") {
            if pattern[index] == UInt8(ascii: "\\"), index + 1 < pattern.count { index += 1 }
            let first = Self.lowercased(pattern[index])
            if index + 2 < pattern.count, pattern[index + 1] == UInt8(ascii: "-") {
                let last = Self.lowercased(pattern[index + 2])
                ranges.append(min(first, last)...max(first, last))
                index += 3
            } else {
                ranges.append(first...first)
                index += 1
            }
        }
        parts.append(.set(ranges, isNegated: isNegated))
        return min(index, pattern.count - 1)
    }

    /// Whether all of `name`, which is in lower case, matches.
    /// - Complexity: O(name × pattern): only the last `*` is ever tried again.
    func matches(_ name: some Collection<UInt8>) -> Bool {
        let name = Array(name)
        var part = 0
        var position = 0
        var retry: (part: Int, position: Int)?
        while position < name.count {
            if part < parts.count, case .any = parts[part] {
                part += 1
                retry = (part, position)
            } else if part < parts.count, parts[part].matches(name[position]) {
                part += 1
                position += 1
            } else if let last = retry {
                part = last.part
                position = last.position + 1
                retry = (part, position)
            } else {
                return false
            }
        }
        if part < parts.count, case .any = parts[part] { part += 1 }
        return part == parts.count
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }
}
