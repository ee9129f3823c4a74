// Long options with one dash (`-id=node1`, `-topic events`), because the users of the older systems type them so. Runs
// before the argument parser sees anything; it must never change a value.

/// Rewrites `-name` to `--name` for the long options that a program has.
public enum SingleDash {
    /// - Parameters:
    ///   - arguments: the command line without the program's name.
    ///   - options: long names that take a value, without dashes: the argument after one is a value and stays as it is.
    ///   - flags: long names that take none.
    /// - Returns: the same arguments, one dash added where a known long name had only one. Everything after a bare `--`
    ///   stays as it is.
    public static func normalise(_ arguments: [String], options: Set<String>, flags: Set<String>) -> [String] {
        var result: [String] = []
        result.reserveCapacity(arguments.count)
        var index = 0
        while index < arguments.count {
            let argument = arguments[index]
            index += 1
            if argument == "--" {
                result.append(argument)
                result.append(contentsOf: arguments[index...])
                break
            }
            guard argument.hasPrefix("-"), argument.count > 2 else {
                result.append(argument)
                continue
            }
            let hasTwo = argument.hasPrefix("--")
            let body = argument.dropFirst(hasTwo ? 2 : 1)
            let name = String(body.prefix { $0 != "=" })
            let isKnown = options.contains(name) || flags.contains(name)
            result.append(!hasTwo && isKnown ? "-" + argument : argument)
            if options.contains(name), name.count == body.count, index < arguments.count {
                result.append(arguments[index])
                index += 1
            }
        }
        return result
    }
}
