// `Server consume`: prints the values of one partition, one a line, as the bytes that they are, until it is interrupted
// or has printed as many as were asked for.
import ArgumentParser
import StrataClient
import Synchronization

/// Prints the messages of a topic.
struct ConsumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consume", abstract: "Prints the messages of a topic, one a line, and waits for more.",
        discussion: "Without --from-beginning or --offset it begins behind the last message.")

    @Option(help: "The topic.")
    var topic: String

    @Option(help: "The partition.")
    var partition: UInt32 = 0

    @Flag(help: "Begin with the oldest message that is kept.")
    var fromBeginning = false

    @Option(help: "Begin with the message of this offset.")
    var offset: UInt64?

    @Option(help: "End after so many messages.")
    var maxMessages: UInt64?

    @OptionGroup var broker: BrokerOptions

    func validate() throws {
        guard offset == nil || !fromBeginning else {
            throw ValidationError("Give --offset or --from-beginning, not both.")
        }
    }

    func run() async throws {
        let start: ConsumeStart = fromBeginning ? .earliest : offset.map { .offset($0) } ?? .latest
        let wanted = maxMessages ?? .max
        guard wanted > 0 else { return }
        try await broker.withClient { client in
            let printed = Atomic<UInt64>(0)
            try await client.consume(topic: topic, partition: partition, from: start, follow: true) { record in
                guard StandardOutput.write(record.value ?? []) else { return false }
                return printed.add(1, ordering: .relaxed).newValue < wanted
            }
        }
    }
}
