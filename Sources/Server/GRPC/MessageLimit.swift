// Says why a call ends whose message is larger than the listener takes: RESOURCE_EXHAUSTED and a sentence that names
// the limit. The gRPC transport alone closes such a stream without a word, which a client takes for a broken connection
// and tries again. It reads the five bytes in front of each message and must never hold any of the message itself.
import NIOCore
import NIOHPACK
import NIOHTTP2
import StrataProtocol

/// The first handler of each HTTP/2 stream of the gRPC listener.
final class MessageLimit: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = HTTP2Frame.FramePayload
    typealias OutboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    /// Of a message's framing: one byte says whether it is compressed, four how long it is.
    private static let prefixBytes = 5
    /// RESOURCE_EXHAUSTED.
    private static let statusCode = "8"

    private let bytesMax: Int
    /// Bytes seen of the prefix of the next message.
    private var prefixSeen = 0
    private var length: UInt32 = 0
    /// Bytes of the current message that are still to come.
    private var left = 0
    private var hasSentHeaders = false
    private var isOver = false

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What still arrives of a call that was refused.
        guard !isOver else { return }
        if case .data(let frame) = unwrapInboundIn(data), case .byteBuffer(let buffer) = frame.data,
            let length = tooLong(buffer)
        {
            return refuse(length, context)
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isOver else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        if case .headers = unwrapOutboundIn(data) { hasSentHeaders = true }
        context.write(data, promise: promise)
    }

    /// The length of a message that is too long, if one begins in these bytes.
    private func tooLong(_ buffer: ByteBuffer) -> UInt32? {
        var rest = buffer.readableBytesView[...]
        while !rest.isEmpty {
            if left > 0 {
                let count = min(left, rest.count)
                rest = rest.dropFirst(count)
                left -= count
                continue
            }
            guard let byte = rest.popFirst() else { break }
            if prefixSeen > 0 { length = length << 8 | UInt32(byte) }
            prefixSeen += 1
            guard prefixSeen == Self.prefixBytes else { continue }
            if Int(length) > bytesMax { return length }
            (left, prefixSeen, length) = (Int(length), 0, 0)
        }
        return nil
    }

    private func refuse(_ length: UInt32, _ context: ChannelHandlerContext) {
        isOver = true
        var headers = HPACKHeaders()
        if !hasSentHeaders {
            headers.add(name: ":status", value: "200")
            headers.add(name: "content-type", value: "application/grpc")
        }
        headers.add(name: "grpc-status", value: Self.statusCode)
        headers.add(
            name: "grpc-message",
            value: "the message has \(length) bytes; at most \(bytesMax) are allowed, send smaller ones")
        headers.add(name: StatusMetadata.errorCode, value: "\(Strata_V1_ErrorCode.errorMessageTooLarge.rawValue)")
        let trailers = HTTP2Frame.FramePayload.headers(.init(headers: headers, endStream: true))
        context.write(wrapOutboundOut(trailers), promise: nil)
        // Asks the client to stop sending (RFC 9113 §8.1); the stream is closed by it.
        context.writeAndFlush(wrapOutboundOut(.rstStream(.noError)), promise: nil)
    }
}
