// `Server topics`: lists, creates and describes topics.
import ArgumentParser
import StrataClient

/// Lists, creates or describes topics.
struct TopicsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topics", abstract: "Lists, creates or describes topics.")

    @Flag(help: "Print the names of all topics (the default).")
    var list = false

    @Option(help: "Create the topic of this name.")
    var create: String?

    @Option(help: "How many partitions to create; 1 when not given.")
    var partitions: UInt32?

    @Flag(help: "Print each partition with its leader and its offsets.")
    var describe = false

    @Option(help: "Describe this topic only.")
    var topic: String?

    @OptionGroup var broker: BrokerOptions

    func validate() throws {
        guard [list, create != nil, describe].count(where: { $0 }) <= 1 else {
            throw ValidationError("Give one of --list, --create and --describe.")
        }
        guard partitions == nil || create != nil else {
            throw ValidationError("--partitions goes with --create NAME.")
        }
        guard partitions != 0 else { throw ValidationError("A topic has at least one partition.") }
        guard topic == nil || describe else { throw ValidationError("--topic goes with --describe.") }
    }

    func run() async throws {
        try await broker.withClient { client in
            if let name = create {
                let count = partitions ?? 1
                try await client.createTopic(name, partitions: count, failIfExists: true)
                StandardOutput.write("created topic \(name) with \(count) partition\(count == 1 ? "" : "s")")
                return
            }
            let topics = try await client.topics(topic.map { [$0] } ?? [])
            if let topic, topics.isEmpty { throw CommandError.failed("there is no topic '\(topic)'; create it first") }
            for topic in topics.sorted(by: { $0.name < $1.name }) {
                guard describe else {
                    StandardOutput.write(topic.name)
                    continue
                }
                for partition in topic.partitions { StandardOutput.write(Self.line(topic.name, partition)) }
            }
        }
    }

    /// One partition on one line, with the trouble of the replica on the node that answers, if there is any.
    static func line(_ topic: String, _ partition: PartitionInfo) -> String {
        "\(topic)-\(partition.partition)  leader \(partition.leader ?? "none")  "
            + "offsets \(partition.logStartOffset) to \(partition.highWatermark)"
            + (partition.problem.map { "  out of service on this node: \($0)" } ?? "")
    }
}
