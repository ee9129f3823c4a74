// One RESP connection: parses what arrives, hands requests to the store, and writes the answers in the order of the
// requests although the requests run at the same time. Everything here happens on the connection's event loop; nothing
// blocks, nothing awaits. A connection behaves as if its requests ran one after the other: reads run together with
// reads and writes with writes, which the store applies in the order in which they were handed over; a read waits for
// the writes before it, a write for the reads before it. It never drops an answer because the client stopped sending,
// and never buffers without a bound.
import Cluster
import KeyValue
import NIOCore

/// The channel handler of one connection. Not Sendable: engine threads reach it through its loop's `CompletionMailbox`.
final class RESPConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Asks a connection to answer what is in flight and to end.
    struct Drain: Sendable {}

    private enum Stage {
        case open
        /// The last answer is written; what the client still sends is thrown away.
        case ending
        case closed
    }

    /// What the requests in flight are. Only requests that can't disturb each other are in flight together.
    private enum Phase {
        case idle
        case reading
        case writing
    }

    private struct Slot {
        /// Nil while the store works on it.
        var reply: RESPReply?
        /// Key and value, in flight.
        var bytes = 0
        /// Answered with the number that the write gave, not with +OK.
        var isNumber = false
    }

    /// Says where an outcome belongs. Any thread may post with it.
    private struct Ticket: Sendable {
        var mailbox: CompletionMailbox
        var connection: NIOLoopBound<RESPConnection>
        var sequence: UInt64

        func post(_ outcome: RESPOutcome, part: Int = 0) {
            mailbox.post(outcome, to: connection, sequence: sequence, part: part)
        }
    }

    private let service: any KeyValueService
    private let status: any NodeStatusService
    private let mailbox: CompletionMailbox

    private var context: ChannelHandlerContext?
    /// This connection, for completions to carry; nil once closed, which breaks the cycle.
    private var handle: NIOLoopBound<RESPConnection>?
    private var stage = Stage.open
    private var isInputClosed = false
    private var isDraining = false
    private var isTouched = false
    /// The channel asked for a read while requests had to wait.
    private var isReadWanted = false
    private var isStalled = false
    private var isProceeding = false
    private var isProceedWanted = false

    private var parser = RESPParser()
    /// A request that must wait for those before it.
    private var held: RESPRequest?
    private var version = 2
    private var client: RESPClient

    /// Answers in request order, from the oldest that is not written.
    private var slots = CircularBuffer<Slot>()
    private var headSequence: UInt64 = 0
    private var phase = Phase.idle
    private var inFlight = 0
    private var requestBytesInFlight = 0
    private var replyBytesHeld = 0

    private var watchdog: RepeatedTask?
    private var sequenceAtLastCheck: UInt64?
    private var deadline: Scheduled<Void>?

    /// - Parameter id: the connection's number, see ``RESPClient/id``.
    init(service: any KeyValueService, status: any NodeStatusService, mailbox: CompletionMailbox, id: UInt64) {
        client = RESPClient(id: id)
        self.service = service
        self.status = status
        self.mailbox = mailbox
    }
}

// MARK: - Channel events

extension RESPConnection {
    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let handle = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.handle = handle
        let period = TimeAmount.milliseconds(RESPLimits.answerMillisecondsMax)
        watchdog = context.eventLoop.scheduleRepeatedTask(initialDelay: period, delay: period) { _ in
            handle.value.checkProgress()
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        release()
    }

    func channelInactive(context: ChannelHandlerContext) {
        release()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard stage == .open else { return }
        parser.append(unwrapInboundIn(data))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        proceed()
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        proceed()
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            isInputClosed = true
            if stage == .open { proceed() } else { context.close(promise: nil) }
        case is Drain:
            isDraining = true
            proceed()
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The socket is broken; there is nobody to tell.
        context.close(promise: nil)
    }

    /// Holds the channel's reads back while requests wait: that is the backpressure.
    func read(context: ChannelHandlerContext) {
        if isStalled, stage == .open { isReadWanted = true } else { context.read() }
    }

    private func release() {
        stage = .closed
        watchdog?.cancel()
        deadline?.cancel()
        watchdog = nil
        deadline = nil
        handle = nil
        context = nil
        slots.removeAll()
        held = nil
    }

    /// A completion is owed within the engine's own deadlines. If the oldest one does not come, the connection must not
    /// wait for ever: its fate is unknown, and the client is told so.
    private func checkProgress() {
        guard stage == .open, let head = slots.first, head.reply == nil else {
            sequenceAtLastCheck = nil
            return
        }
        guard sequenceAtLastCheck == headSequence else {
            sequenceAtLastCheck = headSequence
            return
        }
        let seconds = RESPLimits.answerMillisecondsMax / 1000
        slots[slots.startIndex].reply = RESPReply(
            failure: .unknown("the store did not answer for \(seconds) s; read the key before you write it again"))
        proceed()
    }
}

// MARK: - Requests

extension RESPConnection {
    /// Goes on as far as possible. Writing and flushing may call back into this handler; such a call is noted and done
    /// after the one that is running, so that a step always sees a settled state.
    private func proceed() {
        isProceedWanted = true
        guard !isProceeding else { return }
        isProceeding = true
        while isProceedWanted {
            isProceedWanted = false
            step()
        }
        isProceeding = false
    }

    /// Starts what can be started, writes what can be written, and reads on if there is room.
    private func step() {
        guard stage == .open, let context else { return }
        var hasWritten = false
        while true {
            isStalled = !startRequests(context)
            let wrote = writeReplies(context)
            hasWritten = hasWritten || wrote
            guard stage == .open, isStalled, wrote else { break }
        }
        if hasWritten { context.flush() }
        guard stage == .open else { return }
        if slots.isEmpty, isDraining || (isInputClosed && !isStalled) {
            end(context)
        } else if !isStalled, isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    /// True when all that has arrived was started; false when something has to wait.
    private func startRequests(_ context: ChannelHandlerContext) -> Bool {
        while stage == .open, !isDraining {
            guard slots.last?.reply?.endsConnection != true else { return false }
            guard slots.count < RESPLimits.pipelinedRequestsMax, context.channel.isWritable,
                requestBytesInFlight < RESPLimits.pipelinedBytesMax, replyBytesHeld < RESPLimits.heldReplyBytesMax
            else { return false }
            if held == nil {
                do {
                    guard try parser.parse() else { return true }
                    held = RESPRequest(parser)
                    parser.consume()
                } catch {
                    reply(.fatal("ERR Protocol error: \(error.sentence)"))
                    return false
                }
            }
            if let request = held {
                guard start(request) else { return false }
                held = nil
            }
        }
        return false
    }

    /// False when the request has to wait for those in flight.
    private func start(_ request: RESPRequest) -> Bool {
        switch request {
        case .reply(let answer):
            reply(answer)
        case .info:
            reply(.information(status.status()))
        case .crossProtocol:
            stage = .ending
            context?.close(promise: nil)
        case .hello(let wanted):
            // Answers of earlier requests are still to be written in the old version.
            guard slots.isEmpty else { return false }
            version = wanted.version ?? version
            client.name = wanted.name ?? client.name
            reply(.greeting(version: version, id: client.id))
        case .client(let request):
            reply(client.answer(request, version: version, channel: context?.channel))
        case .get(let key):
            guard enter(.reading) else { return false }
            let ticket = track(Slot(bytes: key.count))
            service.get(key: key, consistency: .linearizable) { ticket.post(.read($0)) }
        case .write(let write, let session):
            guard enter(.writing) else { return false }
            let ticket = track(Slot(bytes: write.byteCount, isNumber: write.isAnsweredByNumber))
            service.write(write, session: session) { ticket.post(.written($0)) }
        case .openSession:
            guard enter(.writing) else { return false }
            let ticket = track(Slot(isNumber: true))
            service.openSession { ticket.post(.written($0)) }
        case .closeSession(let client):
            guard enter(.writing) else { return false }
            let ticket = track(Slot())
            service.closeSession(client) { ticket.post(.written($0)) }
        }
        return true
    }

    /// Joins or opens a phase; false while another kind of request is in flight.
    private func enter(_ wanted: Phase) -> Bool {
        guard phase == .idle || phase == wanted else { return false }
        phase = wanted
        return true
    }

    /// Opens a slot for a request to the store.
    private func track(_ slot: Slot) -> Ticket {
        guard let handle else { preconditionFailure("a request was started on a connection that is closed") }
        let sequence = headSequence + UInt64(slots.count)
        inFlight += 1
        requestBytesInFlight += slot.bytes
        slots.append(slot)
        return Ticket(mailbox: mailbox, connection: handle, sequence: sequence)
    }

    /// Answers without asking the store.
    private func reply(_ answer: RESPReply) {
        replyBytesHeld += answer.size
        slots.append(Slot(reply: answer))
    }
}

// MARK: - Answers

extension RESPConnection {
    /// Takes what the store made of a request. Called by the mailbox, on the event loop.
    func complete(_ sequence: UInt64, part: Int, with outcome: RESPOutcome) {
        guard stage == .open else { return }
        isTouched = true
        switch outcome {
        case .written(.success(let value)):
            finish(sequence, with: slot(sequence).isNumber ? .integer(Int(truncatingIfNeeded: value)) : .ok)
        case .read(.success(let value)): finish(sequence, with: value.map { .bulk($0) } ?? .null)
        case .written(.failure(let failure)), .read(.failure(let failure)):
            finish(sequence, with: RESPReply(failure: failure))
        }
    }

    /// Goes on after completions were taken, once for all of them.
    func continueIfTouched() {
        guard isTouched else { return }
        isTouched = false
        proceed()
    }

    private func slot(_ sequence: UInt64) -> Slot {
        slots[slots.index(slots.startIndex, offsetBy: Int(sequence - headSequence))]
    }

    private func finish(_ sequence: UInt64, with answer: RESPReply) {
        let index = slots.index(slots.startIndex, offsetBy: Int(sequence - headSequence))
        // The watchdog may have answered in its place.
        if slots[index].reply == nil {
            slots[index].reply = answer
            replyBytesHeld += answer.size
        }
        requestBytesInFlight -= slots[index].bytes
        inFlight -= 1
        if inFlight == 0 { phase = .idle }
    }

    /// Writes the answers that are due; true when there were any. Ends the connection behind an answer that says so.
    private func writeReplies(_ context: ChannelHandlerContext) -> Bool {
        guard let first = slots.first, first.reply != nil else { return false }
        var output = context.channel.allocator.buffer(capacity: min(replyBytesHeld + 16, RESPLimits.outputBytesMax))
        while let reply = slots.first?.reply {
            slots.removeFirst()
            headSequence += 1
            replyBytesHeld -= reply.size
            reply.write(to: &output, version: version)
            if reply.endsConnection {
                context.write(wrapOutboundOut(output), promise: nil)
                end(context)
                return true
            }
            if output.readableBytes >= RESPLimits.outputBytesMax {
                context.write(wrapOutboundOut(output), promise: nil)
                output = context.channel.allocator.buffer(capacity: RESPLimits.outputBytesMax)
            }
        }
        if output.readableBytes > 0 { context.write(wrapOutboundOut(output), promise: nil) }
        return true
    }

    /// Flushes what is written, closes the sending side, and waits a moment for the client to close its own, because
    /// closing a socket that holds unread input resets it, and a reset may eat the answers on their way.
    private func end(_ context: ChannelHandlerContext) {
        guard stage == .open, let handle else { return }
        stage = .ending
        slots.removeAll()
        held = nil
        parser = RESPParser()
        closeWithin(RESPLimits.answerMillisecondsMax, handle: handle)
        let flushed = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: flushed)
        flushed.futureResult.whenComplete { _ in
            let connection = handle.value
            guard let context = connection.context else { return }
            if connection.isInputClosed {
                context.close(promise: nil)
            } else {
                context.close(mode: .output, promise: nil)
                connection.closeWithin(
                    connection.isDraining
                        ? RESPLimits.shutdownLingerMillisecondsMax : RESPLimits.lingerMillisecondsMax,
                    handle: handle)
            }
        }
        // Whatever the client still sends is read, so that its end is seen.
        if isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    private func closeWithin(_ milliseconds: Int64, handle: NIOLoopBound<RESPConnection>) {
        deadline?.cancel()
        deadline = handle.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) {
            handle.value.context?.close(promise: nil)
        }
    }
}
