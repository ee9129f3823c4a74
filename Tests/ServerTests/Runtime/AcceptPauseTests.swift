// A listener that can't accept because no descriptor is left rests, says so once, and accepts again by itself.
import Cluster
import Glibc
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Server

@Suite struct AcceptPauseTests {
    private final class Reports: Sendable {
        let sentences = Mutex<[String]>([])
    }

    private func listener(_ reports: Reports) async throws -> any Channel {
        let diagnostics = Diagnostics { _, sentence in reports.sentences.withLock { $0.append(sentence()) } }
        return try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelInitializer { AcceptPause.install(on: $0, listener: "test", diagnostics: diagnostics) }
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(LastWords("hello"))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    /// What accepting ran into. Says whether the listener goes on at once.
    private func fail(_ channel: any Channel, _ code: CInt) async throws -> Bool {
        try await channel.eventLoop.submit {
            channel.pipeline.syncOperations.fireErrorCaught(IOError(errnoCode: code, reason: "accept"))
            return try channel.syncOptions?.getOption(.autoRead) ?? false
        }.get()
    }

    @Test(arguments: [EMFILE, ENFILE, ENOBUFS, ENOMEM])
    func restsAndSaysSoOnce(code: CInt) async throws {
        let reports = Reports()
        let channel = try await listener(reports)
        #expect(try await fail(channel, code) == false)
        #expect(try await fail(channel, code) == false)
        let port = try #require(channel.localAddress?.port)
        // Waits in the kernel's queue until the rest is over.
        #expect(try await LoopbackClient(port: port).receiveAll() == "hello")
        let sentences = reports.sentences.withLock { $0 }
        #expect(sentences.count == 1 && sentences[0].hasPrefix("the test listener can't accept connections: "))
        // What comes after a connection was accepted is another time.
        #expect(try await fail(channel, code) == false)
        #expect(reports.sentences.withLock { $0.count } == 2)
        try await channel.close()
    }

    @Test func otherErrorsPassOn() async throws {
        let reports = Reports()
        let channel = try await listener(reports)
        #expect(try await fail(channel, ECONNABORTED))
        #expect(reports.sentences.withLock { $0.isEmpty })
        try await channel.close()
    }
}
