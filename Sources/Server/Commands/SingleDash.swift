// Lets every long option be typed with one dash (`-id=node1`, `-topic events`, `-from-beginning`), as the users of the
// old systems do. It rewrites option names only: the token after an option that takes a value is that option's value
// and is never touched, whatever it looks like, and nothing after `--` is touched.
import ArgumentParser
import Foundation

/// Rewrites `-name` to `--name` before the parser sees it.
enum SingleDash {
    /// The long names that a command and its subcommands know.
    struct OptionNames: Hashable, Sendable {
        /// Every long name, without dashes.
        var longNames: Set<String>
        /// Those of them that take no value.
        var flags: Set<String>
    }

    /// Gives long options that were typed with one dash their second one.
    ///
    /// Single letters are short options and stay as they are; so does a name that isn't in `longNames`, for the parser
    /// to complain about as it was typed.
    /// - Complexity: O(n) in the length of the arguments.
    static func normalise(_ arguments: [String], longNames: Set<String>, flags: Set<String> = []) -> [String] {
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

    /// The names that `command` and all its subcommands declare, so that no second list has to be kept in step.
    static func optionNames(of command: any ParsableCommand.Type) -> OptionNames {
        var names = OptionNames(longNames: ["help", "version"], flags: ["help", "version"])
        let dump = Data(command._dumpHelp().utf8)
        guard let tool = try? JSONDecoder().decode(Tool.self, from: dump) else {
            preconditionFailure("ArgumentParser's description of the commands has another form than 1.8's")
        }
        collect(tool.command, into: &names)
        return names
    }

    private static func collect(_ command: Tool.Command, into names: inout OptionNames) {
        for argument in command.arguments ?? [] where argument.kind != "positional" {
            for name in argument.names ?? [] where name.kind == "long" {
                names.longNames.insert(name.name)
                if argument.kind == "flag" { names.flags.insert(name.name) }
            }
        }
        for subcommand in command.subcommands ?? [] { collect(subcommand, into: &names) }
    }

    /// The part that is needed of what ArgumentParser says of a command.
    private struct Tool: Decodable {
        struct Command: Decodable {
            struct Argument: Decodable {
                struct Name: Decodable {
                    var kind: String
                    var name: String
                }

                var kind: String
                var names: [Name]?
            }

            var subcommands: [Command]?
            var arguments: [Argument]?
        }

        var command: Command
    }
}
