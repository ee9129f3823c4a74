// The commands' options: what one dash may stand for is what they declare, and what they refuse.
import ArgumentParser
import Foundation
import Testing

@testable import Server

@Suite struct CommandOptionsTests {
    /// The part that is needed of ArgumentParser's description of a command.
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

            var arguments: [Argument]?
        }

        var command: Command
    }

    private static let commands: [any ParsableCommand.Type] = [
        ProduceCommand.self, ConsumeCommand.self, TopicsCommand.self,
    ]

    @Test func theListOfFlagsIsWhatTheCommandsDeclare() throws {
        for command in Self.commands {
            let tool = try JSONDecoder().decode(Tool.self, from: Data(command._dumpHelp().utf8))
            for argument in tool.command.arguments ?? [] {
                for name in argument.names ?? [] where name.kind == "long" {
                    #expect((argument.kind == "flag") == SingleDash.flags.contains(name.name), "--\(name.name)")
                }
            }
        }
    }

    @Test func messagesMayLookLikeOptions() throws {
        let command = try ProduceCommand.parse(["--topic", "t", "--message", "-5", "--message", "--topic"])
        #expect(command.message == ["-5", "--topic"] && command.topic == "t" && command.acks == .quorum)
    }

    @Test(arguments: [
        ["produce"], ["produce", "--topic", "t", "--acks", "all"], ["produce", "--topic", "t", "--partition", "-1"],
        ["consume", "--topic", "t", "--from-beginning", "--offset", "3"], ["topics", "--list", "--describe"],
        ["topics", "--partitions", "3"], ["topics", "--create", "t", "--partitions", "0"], ["topics", "--topic", "t"],
    ])
    func contradictionsAreUsageErrors(_ typed: [String]) {
        let command: any ParsableCommand.Type =
            switch typed[0] {
            case "produce": ProduceCommand.self
            case "consume": ConsumeCommand.self
            default: TopicsCommand.self
            }
        let error = #expect(throws: (any Error).self) { _ = try command.parse(Array(typed.dropFirst())) }
        #expect(error.map { command.exitCode(for: $0).rawValue } == 64)
    }

    @Test func aWrongEndpointIsNamed() async throws {
        for endpoint in ["nowhere", ":0", "host:x"] {
            let command = try TopicsCommand.parse(["--endpoint", endpoint])
            let error = await #expect(throws: CommandError.self) { try await command.run() }
            #expect(error?.kind == .usage && error?.description.contains("'\(endpoint)'") == true)
        }
    }
}
