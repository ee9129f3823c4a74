// `Server produce`: appends messages from the command line, or the lines of standard input, to one partition and says
// where each landed. It must never claim an offset that the broker did not confirm.
import ArgumentParser
import StrataClient

/// Appends messages to a topic.
struct ProduceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "produce", abstract: "Appends messages to a topic and prints where they landed.",
        discussion: "Without --message, each line of standard input is a message. An unknown topic is created.")

    @Option(help: "The topic.")
    var topic: String

    @Option(help: "The partition.")
    var partition: UInt32 = 0

    @Option(parsing: .unconditionalSingleValue, help: "A message; repeat the option for more.")
    var message: [String] = []

    @Option(help: "What to wait for: none, leader or quorum.")
    var acks: AcksArgument = .quorum

    @OptionGroup var broker: BrokerOptions

    func run() async throws {
        try await broker.withClient { client in
            guard message.isEmpty else { return try await produce(message.map { Array($0.utf8) }, client) }
            let input = StandardInput()
            while let lines = try await input.nextLines() { try await produce(lines, client) }
        }
    }

    private func produce(_ values: [[UInt8]], _ client: StrataClient) async throws {
        let records = values.map { OutgoingRecord(value: $0) }
        let receipt = try await append(records, client)
        for index in 0..<UInt64(records.count) {
            StandardOutput.write(
                acks == .none ? "\(topic)-\(partition) @ ?" : "\(topic)-\(partition) @ \(receipt.baseOffset + index)")
        }
    }

    /// Appends the records; creates the topic first when there is none.
    private func append(_ records: [OutgoingRecord], _ client: StrataClient) async throws -> BatchReceipt {
        do {
            return try await client.produce(
                topic: topic, partition: partition, records: records, acks: acks.acknowledgement)
        } catch {
            // `catch … where` on a typed error crashes the 6.3.1 compiler.
            guard error.code == .unknownTopic else { throw error }
        }
        // Nothing was written. If the topic exists and only the partition does not, this fails in the same words.
        try await client.createTopic(topic, partitions: 1)
        return try await client.produce(
            topic: topic, partition: partition, records: records, acks: acks.acknowledgement)
    }
}
