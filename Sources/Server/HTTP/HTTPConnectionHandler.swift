// What HTTP/1.1 asks of every connection, whatever the route: exactly one Host, `100 Continue` only when the body is
// wanted, no body in an answer to HEAD, and an end that lets the client read its answer. A socket that is closed while
// the client still sends is reset by the kernel, and the answer is lost on its way; one that is neither closed nor read
// hangs the client. So an answer that ends a connection is followed by a half-close, and what the client still sends is
// read and dropped, within bounds (RFC 9112 §9.6). Must never reorder answers: it writes its own only when none is due
// before it.
import NIOCore
import NIOHTTP1

/// A route is about to read its request's body; fired from the channel's tail.
struct HTTPBodyWanted: Sendable {}

/// Sits between the HTTP/1 decoder and whatever handles requests. Lives on its connection's event loop.
final class HTTPConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// One part of a head: the path with its query, or one field.
    static let headFieldBytesMax = 200 * 1024
    static let headBytesMax = 256 * 1024
    static let headFieldsMax = 200
    /// What a client may go on sending after its connection's last answer, and for how long, before it is cut off.
    static let drainedBytesMax = 64 * 1024 * 1024
    static let drainTimeMax = TimeAmount.seconds(30)
    static let drainSilenceMax = TimeAmount.seconds(2)

    /// A request that was passed on and whose answer has not ended.
    private struct Exchange {
        var isHead: Bool
        var keepsAlive: Bool
        var isOld: Bool
        var expectsContinue: Bool
        /// Its answer says that it is the last.
        var isLast = false
    }

    private enum Phase {
        case open
        /// No further request is taken; this is said once the answers before it are out.
        case refusing(HTTPResponseStatus, String)
        /// The last answer is out.
        case draining
    }

    private var phase = Phase.open
    /// Oldest first.
    private var exchanges: [Exchange] = []
    /// The newest request's body has not ended.
    private var isReading = false
    private var drainedBytes = 0
    private var drainUntil = NIODeadline.distantFuture
    private var lastRead = NIODeadline.now()
    private var timer: Scheduled<Void>?

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    // MARK: In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        guard case .open = phase else { return drop(part, context) }
        switch part {
        case .head(let head):
            if let problem = Self.problem(of: head) { return refuse(problem.0, problem.1, context) }
            isReading = true
            let isOld = Self.isOld(head.version)
            exchanges.append(
                Exchange(
                    isHead: head.method == .HEAD, keepsAlive: head.isKeepAlive, isOld: isOld,
                    expectsContinue: !isOld && head.headers.contains(name: "Expect")))
        case .body: break
        case .end: isReading = false
        }
        context.fireChannelRead(data)
    }

    /// HTTP/1.0 and before.
    private static func isOld(_ version: HTTPVersion) -> Bool { (version.major, version.minor) < (1, 1) }

    private static func problem(of head: HTTPRequestHead) -> (HTTPResponseStatus, String)? {
        let hosts = head.headers["Host"]
        if hosts.count > 1 { return (.badRequest, "the request has \(hosts.count) Host fields; send one") }
        if hosts.isEmpty, !isOld(head.version) {
            return (.badRequest, "the request has no Host field, which HTTP/1.1 asks for; send Host: <host>:<port>")
        }
        let expectations = head.headers["Expect"]
        if let other = expectations.first(where: { $0.lowercased() != "100-continue" }) {
            return (.expectationFailed, "the expectation '\(other)' is not known; send Expect: 100-continue or none")
        }
        return nil
    }

    private func drop(_ part: HTTPServerRequestPart, _ context: ChannelHandlerContext) {
        lastRead = .now()
        guard case .body(let bytes) = part else { return }
        drainedBytes += bytes.readableBytes
        if drainedBytes > Self.drainedBytesMax { context.close(promise: nil) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if case .draining = phase { context.read() }
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .draining = phase, let event = event as? ChannelEvent, event == .inputClosed {
            return context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// A head that can't be parsed is answered here; in a body it is the route that waits for the rest.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else { return context.fireErrorCaught(error) }
        guard case .open = phase else { return }
        guard !isReading else { return context.fireErrorCaught(error) }
        if error == .headerOverflow {
            refuse(
                .requestHeaderFieldsTooLarge,
                "the path or a field of the head is longer than \(Self.headFieldBytesMax) bytes, or all of them than "
                    + "\(Self.headBytesMax); send a long key in the body", context)
        } else {
            refuse(.badRequest, "this is not HTTP/1.1 (\(error))", context)
        }
    }

    // MARK: Out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard let exchange = exchanges.first else { return context.write(data, promise: promise) }
        switch unwrapOutboundIn(data) {
        case .head(let head) where (100..<200).contains(head.status.code):
            context.write(data, promise: promise)
        case .head(var head):
            // A body that nobody reads any more: the connection can't serve another request.
            let isCutShort = exchanges.count == 1 && isReading
            let isLast = isCutShort || !exchange.keepsAlive || !head.isKeepAlive
            exchanges[0].isLast = isLast
            if isLast {
                head.headers.replaceOrAdd(name: "Connection", value: "close")
            } else if exchange.isOld {
                head.headers.replaceOrAdd(name: "Connection", value: "keep-alive")
            }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body:
            if exchange.isHead { promise?.succeed() } else { context.write(data, promise: promise) }
        case .end:
            exchanges.removeFirst()
            if exchange.isLast {
                drain(afterWriting: data, promise, context)
            } else {
                context.write(data, promise: promise)
                answerRefused(context)
            }
        }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is HTTPBodyWanted else { return context.triggerUserOutboundEvent(event, promise: promise) }
        promise?.succeed()
        guard exchanges.count == 1, isReading, exchanges[0].expectsContinue else { return }
        exchanges[0].expectsContinue = false
        context.writeAndFlush(
            wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        // Its output is closed already, or will be as soon as the answer is out.
        if case .draining = phase, mode == .output { return promise?.succeed() ?? () }
        context.close(mode: mode, promise: promise)
    }

    // MARK: The end of a connection

    private func refuse(_ status: HTTPResponseStatus, _ sentence: String, _ context: ChannelHandlerContext) {
        phase = .refusing(status, sentence)
        answerRefused(context)
    }

    private func answerRefused(_ context: ChannelHandlerContext) {
        guard case .refusing(let status, let sentence) = phase, exchanges.isEmpty else { return }
        var text = JSONText()
        text.write("success", false)
        text.write("error", sentence)
        let body = text.finished()
        let headers: HTTPHeaders = [
            "Content-Type": "application/json", "Content-Length": "\(body.readableBytes)", "Connection": "close",
        ]
        context.write(
            wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))),
            promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        drain(afterWriting: wrapOutboundOut(.end(nil)), nil, context)
    }

    private func drain(
        afterWriting end: NIOAny, _ promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext
    ) {
        phase = .draining
        lastRead = .now()
        drainUntil = lastRead + Self.drainTimeMax
        let written = promise ?? context.eventLoop.makePromise(of: Void.self)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        written.futureResult.whenComplete { _ in
            let (_, context) = bound.value
            guard context.channel.isActive else { return }
            context.close(mode: .output, promise: nil)
            // Whoever read until now may have stopped asking for more.
            context.read()
        }
        context.writeAndFlush(end, promise: written)
        watch(context)
    }

    private func watch(_ context: ChannelHandlerContext) {
        let due = min(drainUntil, lastRead + Self.drainSilenceMax)
        guard NIODeadline.now() < due else { return context.close(promise: nil) }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(deadline: due) {
            let (handler, context) = bound.value
            if context.channel.isActive { handler.watch(context) }
        }
    }
}
