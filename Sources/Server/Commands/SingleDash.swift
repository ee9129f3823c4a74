// Lets every long option be typed with one dash (`-id=node1`, `-topic events`, `-from-beginning`), as the users of the
// old systems do. It rewrites option names only: the token after an option that takes a value is that option's value
// and is never touched, whatever it looks like, and nothing after `--` is touched.

/// Rewrites `-name` to `--name` before the parser sees it.
enum SingleDash {
    /// The long options of our commands that take no value. A test compares this with what the commands declare.
    static let flags: Set<String> = ["help", "version", "from-beginning", "list", "describe", "join", "registry"]

    /// Gives long options that were typed with one dash their second one.
    ///
    /// Single letters are short options and stay as they are; so does a name that isn't in `longNames`, for the parser
    /// to complain about as it was typed.
    /// - Parameters:
    ///   - longNames: every long option, without dashes.
    ///   - flags: those of them that take no value.
    /// - Complexity: O(n) in the length of the arguments.
    static func normalise(
        _ arguments: [String], longNames: Set<String>, flags: Set<String> = SingleDash.flags
    ) -> [String] {
        var result: [String] = []
        result.reserveCapacity(arguments.count)
        var nextIsValue = false
        var iterator = arguments.makeIterator()
        while let argument = iterator.next() {
            if nextIsValue {
                result.append(argument)
                nextIsValue = false
                continue
            }
            if argument == "--" {
                result.append(argument)
                while let rest = iterator.next() { result.append(rest) }
                break
            }
            guard argument.hasPrefix("-") else {
                result.append(argument)
                continue
            }
            let isDoubled = argument.hasPrefix("--")
            let body = argument.dropFirst(isDoubled ? 2 : 1)
            let name = String(body.prefix { $0 != "=" })
            guard longNames.contains(name), isDoubled || name.utf8.count > 1 else {
                result.append(argument)
                continue
            }
            result.append(isDoubled ? argument : "-" + argument)
            nextIsValue = name.utf8.count == body.utf8.count && !flags.contains(name)
        }
        return result
    }
}
