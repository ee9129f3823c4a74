// The entry point of `Server`: runs a node when no subcommand is named, and is the broker's command line otherwise.
// Says every failure in one sentence on standard error; usage errors end with status 64, failures with 1.
import ArgumentParser
import Foundation

@main
struct Server: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "Server",
        abstract: "A replicated log broker and key-value store.",
        discussion: "Without a subcommand it runs a node. Every long option is accepted with one dash too.",
        version: StrataVersion.sentence,
        subcommands: [
            ServeCommand.self, ProduceCommand.self, ConsumeCommand.self, TopicsCommand.self, ClusterCommand.self,
            StorageCommand.self,
        ],
        defaultSubcommand: ServeCommand.self)

    static func main() async {
        let arguments = SingleDash.normalise(Array(CommandLine.arguments.dropFirst()), longNames: longNames)
        do {
            var command = try parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as CommandError {
            FileHandle.standardError.write(Data("Server: \(error.description)\n".utf8))
            Foundation.exit(error.kind.exitStatus)
        } catch let error as ServerError {
            FileHandle.standardError.write(Data("Server: \(error.description)\n".utf8))
            Foundation.exit(1)
        } catch {
            exit(withError: error)
        }
    }

    /// Every long option of every subcommand, for ``SingleDash``.
    static let longNames: Set<String> = Set(Setting.all.map { String($0.flag.dropFirst(2)) }).union([
        "config", "help", "version",
        "topic", "partition", "message", "acks", "endpoint", "from-beginning", "offset", "max-messages",
        "role", "group", "list", "create", "partitions", "describe", "salvage", "to", "limit", "accept-loss",
        "registry",
    ])
}
