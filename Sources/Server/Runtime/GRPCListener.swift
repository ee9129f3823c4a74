// The gRPC listener as a service: clients' and peers' calls on one port. Peer streams never end by themselves, so a
// graceful stop gives running calls a moment and then closes what is left.
import Cluster
import GRPCCore
import GRPCNIOTransportHTTP2
import Logging
import ServiceLifecycle

struct GRPCListener: Service {
    /// How long running calls may go on after a stop was asked for.
    static let gracePeriod = Duration.milliseconds(300)

    let address: ListenAddress
    let services: [any RegistrableRPCService]
    let diagnostics: Diagnostics
    let logger: Logger

    func run() async throws {
        let server = GRPCServer(
            transport: try GRPCServerSettings.transport(address: address, diagnostics: diagnostics), services: services)
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await server.serve() }
                group.addTask {
                    try? await gracefulShutdown()
                    server.beginGracefulShutdown()
                    try? await Task.sleep(for: Self.gracePeriod)
                }
                group.addTask {
                    _ = try? await server.listeningAddress
                    logger.info("gRPC is listening", metadata: ["address": "\(address)"])
                    await sleepUntilCancelled()
                }
                try await group.next()
                group.cancelAll()
                do {
                    try await group.waitForAll()
                } catch is CancellationError {
                    // The way in which serve() ends when calls were still open.
                }
            }
        } catch {
            throw address.unusable(by: "gRPC", because: error, option: "--address")
        }
    }
}
