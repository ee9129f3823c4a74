// The RESP front end as a service: binds, serves, and on shutdown lets every connection answer what is in flight.
import Cluster
import KeyValue
import Logging
import NIOCore
import ServiceLifecycle

struct RESPListener: Service {
    let address: ListenAddress
    let store: any KeyValueService
    let status: any NodeStatusService
    let group: any EventLoopGroup
    let diagnostics: Diagnostics
    let logger: Logger

    func run() async throws {
        let server = try await RESPServer.start(
            host: address.host, port: address.port, group: group, service: store, status: status,
            diagnostics: diagnostics)
        logger.info("RESP is listening", metadata: ["port": "\(server.port)"])
        try? await gracefulShutdown()
        await server.close()
    }
}
