// One HTTP request of a command to a node, and its JSON answer: a connection of its own that the server closes. Not a
// general client; it knows what our own front end sends.
import Foundation
import NIOCore
import NIOPosix

struct HTTPCall {
    static let connectTimeout = TimeAmount.seconds(3)
    /// A change may have to wait for a leader.
    static let answerTimeout = TimeAmount.seconds(10)
    static let answerBytesMax = 16 * 1024 * 1024

    let address: ListenAddress

    init(endpoint: String) throws(CommandError) {
        address = try ListenAddress(parsing: endpoint)
    }

    /// - Throws: `CommandError` with the server's own sentence when it refuses.
    func send<Answer: Decodable & Sendable>(_ method: String, _ path: String, body: Data?) async throws -> Answer {
        let bytes: [UInt8]
        do {
            bytes = try await exchange(method, path, body)
        } catch {
            throw CommandError.failed(
                "no answer from \(address) (\(error)); check that a node's --http is there, or give another with --endpoint"
            )
        }
        guard let end = Self.endOfHead(bytes), let status = Self.status(bytes) else {
            throw CommandError.failed("what answers at \(address) is not a node's HTTP listener")
        }
        let content = Data(bytes[end...])
        guard status == 200 else {
            let problem = try? JSONDecoder().decode(ChangeAnswer.self, from: content)
            throw CommandError.failed(problem?.error ?? "\(address) answered with status \(status)")
        }
        do {
            return try JSONDecoder().decode(Answer.self, from: content)
        } catch {
            throw CommandError.failed("the answer of \(address) can't be read; use the same version as the node's")
        }
    }

    private func exchange(_ method: String, _ path: String, _ body: Data?) async throws -> [UInt8] {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: [UInt8].self)
        let channel = try await ClientBootstrap(group: loop)
            .connectTimeout(Self.connectTimeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AnswerCollector(promise: promise))
                }
            }
            .connect(host: address.host, port: address.port).get()
        let path = path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path
        var request = channel.allocator.buffer(capacity: 256)
        request.writeString("\(method) \(path) HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n")
        request.writeString("Content-Type: application/json\r\nContent-Length: \(body?.count ?? 0)\r\n\r\n")
        if let body { request.writeBytes(body) }
        let deadline = loop.scheduleTask(in: Self.answerTimeout) { channel.close(promise: nil) }
        defer { deadline.cancel() }
        try await channel.writeAndFlush(request)
        return try await promise.futureResult.get()
    }

    /// The position behind the head's empty line.
    private static func endOfHead(_ bytes: [UInt8]) -> Int? {
        let mark = Array("\r\n\r\n".utf8)
        guard bytes.count >= mark.count else { return nil }
        return (0...(bytes.count - mark.count)).first { bytes[$0..<($0 + mark.count)].elementsEqual(mark) }
            .map { $0 + mark.count }
    }

    /// `HTTP/1.1 200 OK`.
    private static func status(_ bytes: [UInt8]) -> Int? {
        let line = String(decoding: bytes.prefix(while: { $0 != 13 }), as: UTF8.self).split(separator: " ")
        guard line.count >= 2, line[0].hasPrefix("HTTP/1.") else { return nil }
        return Int(line[1])
    }
}

/// Everything that arrives until the connection ends. Lives on its event loop.
private final class AnswerCollector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var bytes: [UInt8] = []
    private let promise: EventLoopPromise<[UInt8]>

    init(promise: EventLoopPromise<[UInt8]>) {
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        bytes.append(contentsOf: unwrapInboundIn(data).readableBytesView)
        if bytes.count > HTTPCall.answerBytesMax { context.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.succeed(bytes)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
