// `Server cluster`: who the members are, and how they change. Talks to any node over HTTP and prints a table or one
// line.
import ArgumentParser
import Foundation

struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Shows or changes the members of a cluster.",
        subcommands: [Status.self, Add.self, Remove.self, Promote.self, Demote.self, Transfer.self],
        defaultSubcommand: Status.self)

    struct Options: ParsableArguments {
        @Option(help: "HTTP address of any node: host:port, or :port for loopback.")
        var endpoint = "127.0.0.1:8080"

        func get<Answer: Decodable & Sendable>(_ path: String) async throws -> Answer {
            try await HTTPCall(endpoint: endpoint).send("GET", path, body: nil)
        }

        func change(_ method: String, _ path: String, _ body: (any Encodable)? = nil) async throws -> ChangeAnswer {
            try await HTTPCall(endpoint: endpoint).send(
                method, path, body: try body.map { try JSONEncoder().encode($0) })
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints the members, and the groups that each leads, votes and learns in.")
        @OptionGroup var options: Options

        func run() async throws {
            let cluster: ClusterDocument = try await options.get("/cluster")
            let groups = cluster.groups.count
            StandardOutput.write("cluster \(cluster.cluster), members declared by entry \(cluster.version)")
            var table = TextTable(["MEMBER", "ADDRESS", "ROLE", "LEADS", "VOTES", "LEARNS"], rightAligned: [3, 4, 5])
            for member in cluster.members {
                table.add([
                    member.name, member.address, member.role, "\(member.leads)", "\(member.votesIn)/\(groups)",
                    "\(member.learnsIn)/\(groups)",
                ])
            }
            table.print()
            for outage in cluster.unavailableGroups ?? [] {
                StandardOutput.write(
                    "\(outage.name) (\(outage.group)) is out of service on the node that was asked"
                        + "\(outage.isRetried ? ", which tries again" : ""): \(outage.reason)")
            }
            for name in cluster.applicants {
                StandardOutput.write("\(name) waits to be added: Server cluster add \(name)")
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds a node that was started with --join; it votes once it has caught up.")
        @OptionGroup var options: Options
        @Argument(help: "The node's --id.")
        var name: String
        @Option(help: "voter, or learner for a node that only follows.")
        var role = "voter"

        func run() async throws {
            _ = try await options.change("POST", "/cluster/members", MemberRequest(name: name, role: role))
            StandardOutput.write("\(name) is declared a \(role); it catches up in the background")
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes a member, dead or alive; a live one hands over, ends and must not come back as it is.")
        @OptionGroup var options: Options
        @Argument(help: "The member's name.")
        var name: String

        func run() async throws {
            _ = try await options.change("DELETE", "/cluster/members/\(name)")
            StandardOutput.write("\(name) is declared removed; its groups let it go in the background")
        }
    }

    struct Promote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a learner a voter, once it has caught up.")
        @OptionGroup var options: Options
        @Argument(help: "The member's name.")
        var name: String

        func run() async throws {
            _ = try await options.change("POST", "/cluster/members", MemberRequest(name: name, role: "voter"))
            StandardOutput.write("\(name) is declared a voter")
        }
    }

    struct Demote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a voter a learner, which only follows.")
        @OptionGroup var options: Options
        @Argument(help: "The member's name.")
        var name: String

        func run() async throws {
            _ = try await options.change("POST", "/cluster/members", MemberRequest(name: name, role: "learner"))
            StandardOutput.write("\(name) is declared a learner")
        }
    }

    struct Transfer: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Sends leadership to a member.")
        @OptionGroup var options: Options
        @Argument(help: "The member that is to lead.")
        var to: String
        @Option(help: "controller, keyvalue or partition-<number>; all groups when not given.")
        var group: String?

        func run() async throws {
            let answer = try await options.change("POST", "/cluster/transfer", TransferBody(to: to, group: group))
            let count = answer.transfers ?? 0
            StandardOutput.write(
                count == 0
                    ? "\(to) leads that already"
                    : "\(count) transfer\(count == 1 ? "" : "s") to \(to) under way; see Server cluster status")
        }
    }
}
