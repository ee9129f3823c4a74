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
            var subcommands: [Command]?
        }

        var command: Command
    }

    @Test func theListOfFlagsIsWhatTheCommandsDeclare() throws {
        func check(_ command: Tool.Command) {
            for argument in command.arguments ?? [] {
                for name in argument.names ?? [] where name.kind == "long" {
                    #expect((argument.kind == "flag") == SingleDash.flags.contains(name.name), "--\(name.name)")
                    #expect(Server.longNames.contains(name.name), "-\(name.name)")
                }
            }
            for subcommand in command.subcommands ?? [] { check(subcommand) }
        }
        check(try JSONDecoder().decode(Tool.self, from: Data(Server._dumpHelp().utf8)).command)
    }

    @Test func everySettingHasAFlag() throws {
        let help = Server.helpMessage(for: ServeCommand.self, columns: 200)
        for setting in Setting.all { #expect(help.contains(setting.flag), "\(setting.flag)") }
    }

    @Test func theVersionIsAsked() throws {
        #expect(StrataVersion.sentence.hasPrefix("strata "))
        #expect(Server.configuration.version == StrataVersion.sentence)
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
