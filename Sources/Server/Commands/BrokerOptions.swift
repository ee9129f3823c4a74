// What the commands that talk to a broker share: where it is, how long they try, and what they say when it fails.
import ArgumentParser
import StrataClient

/// The broker to talk to.
struct BrokerOptions: ParsableArguments {
    /// How long one request is tried while there is no leader, or no server.
    static let patience = Duration.seconds(5)

    @Option(help: "gRPC address of any member: host:port, or :port for loopback.")
    var endpoint = "127.0.0.1:9092"

    /// How long the client's orderly end is waited for; the command is over anyway, and looking up a host name that
    /// nobody knows can take the system's resolver much longer.
    static let closing = Duration.seconds(1)

    /// Runs `body` with a client, and closes the client whatever happens.
    /// - Throws: `CommandError`, one sentence that names the endpoint where that is what is wrong.
    func withClient<Value: Sendable>(_ body: @Sendable (StrataClient) async throws -> Value) async throws -> Value {
        let address = try ListenAddress(parsing: endpoint)
        guard address.port != 0 else {
            throw CommandError.usage("'\(endpoint)' has no port to connect to; write host:port with the server's port")
        }
        var options = ClientOptions()
        options.requestTimeout = Self.patience
        do {
            let client = try StrataClient(endpoints: [address.description], options: options)
            let result: Result<Value, any Error>
            do {
                result = .success(try await body(client))
            } catch {
                result = .failure(error)
            }
            await Self.close(client)
            return try result.get()
        } catch let error as ClientError {
            throw CommandError(error, endpoint: address)
        } catch let error as CommandError {
            throw error
        } catch is CancellationError {
            throw CommandError.failed("the command was interrupted")
        } catch {
            throw CommandError.failed("the command failed: \(error)")
        }
    }

    private static func close(_ client: StrataClient) async {
        let (ends, end) = AsyncStream<Void>.makeStream()
        // Neither task is waited for, only the first end: a task that hangs in the resolver can't be cancelled.
        Task.detached {
            await client.close()
            end.finish()
        }
        Task.detached {
            try? await Task.sleep(for: closing)
            end.finish()
        }
        for await _ in ends {}
    }
}

extension CommandError {
    /// A client's failure, with what the person at the terminal can do about it.
    init(_ error: ClientError, endpoint: ListenAddress) {
        switch error.code {
        case .unavailable:
            self = .failed(
                "the broker at \(endpoint) can't serve this now (\(error)); check that a server runs there, or give "
                    + "another with --endpoint")
        case .unknown:
            self = .failed("\(error); the request may have been carried out, so look before you repeat it")
        case .corruptBatch:
            let next = error.nextOffset.map { "; read on with --offset \($0)" } ?? ""
            self = .failed(error.description + next)
        case .invalid, .unknownTopic, .topicExists, .offsetOutOfRange, .sessionExpired, .storage, .closed:
            self = .failed(error.description)
        }
    }
}

/// What a producer waits for, as it is typed.
enum AcksArgument: String, ExpressibleByArgument, CaseIterable {
    case none, leader, quorum

    var acknowledgement: Acknowledgement {
        switch self {
        case .none: .none
        case .leader: .leader
        case .quorum: .quorum
        }
    }
}
