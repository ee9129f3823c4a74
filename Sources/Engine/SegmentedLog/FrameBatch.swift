// Frames in memory, encoded once: the same bytes go to the disk, to followers and back to readers. Holds whole frames
// in index order, never marks.
import CEngine

/// A run of frames, back to back, with their headers decoded.
///
/// Batches that are built, validated or read by index are contiguous; one read by offset may skip frames in between.
public struct FrameBatch: Sendable {
    /// The encoded frames.
    public private(set) var bytes: [UInt8]
    public private(set) var headers: [FrameHeader]
    /// Where each frame's header begins in `bytes`.
    public private(set) var positions: [Int]

    public init() {
        bytes = []
        headers = []
        positions = []
    }

    public var byteCount: Int { bytes.count }
    public var isEmpty: Bool { headers.isEmpty }
    /// 0 when empty.
    public var firstIndex: UInt64 { headers.first?.index ?? 0 }
    /// 0 when empty.
    public var lastIndex: UInt64 { headers.last?.index ?? 0 }

    public mutating func reserveCapacity(bytes count: Int) {
        bytes.reserveCapacity(count)
    }

    /// Encodes one frame behind the others. It must continue them: that is the caller's duty, and checked.
    public mutating func append(
        kind: FrameKind, index: UInt64, term: UInt64, baseOffset: UInt64, recordCount: UInt32,
        payload: UnsafeRawBufferPointer
    ) {
        let header = FrameHeader(
            kind: kind, payloadCount: UInt32(payload.count), recordCount: recordCount, index: index, term: term,
            baseOffset: baseOffset)
        check(header)
        let checksum = payload.isEmpty ? 0 : strata_crc32c(0, payload.baseAddress, payload.count)
        positions.append(bytes.count)
        headers.append(header)
        withUnsafeTemporaryAllocation(byteCount: FrameHeader.byteCount, alignment: 8) { space in
            // The allocation is not empty, so it has a base.
            header.encode(to: space.baseAddress!, payloadChecksum: checksum)
            bytes.append(contentsOf: UnsafeRawBufferPointer(space))
        }
        bytes.append(contentsOf: payload)
    }

    /// Encodes one frame behind the others.
    public mutating func append(
        kind: FrameKind, index: UInt64, term: UInt64, baseOffset: UInt64, recordCount: UInt32, payload: [UInt8]
    ) {
        payload.withUnsafeBytes {
            append(
                kind: kind, index: index, term: term, baseOffset: baseOffset, recordCount: recordCount, payload: $0)
        }
    }

    /// Joins another batch, which must continue this one.
    public mutating func append(contentsOf other: FrameBatch) {
        guard let first = other.headers.first else { return }
        if isEmpty {
            self = other
            return
        }
        check(first)
        let shift = bytes.count
        bytes.append(contentsOf: other.bytes)
        headers.append(contentsOf: other.headers)
        positions.append(contentsOf: other.positions.lazy.map { $0 + shift })
    }

    /// Takes over an encoded frame whose checksums were verified.
    mutating func append(verified header: FrameHeader, frame: UnsafeRawBufferPointer) {
        positions.append(bytes.count)
        headers.append(header)
        bytes.append(contentsOf: frame)
    }

    private func check(_ header: FrameHeader) {
        precondition(header.kind != .mark, "marks are written by the log, not by its users")
        guard let last = headers.last else { return }
        var end = LogEnd(lastIndex: last.index, lastTerm: last.term, nextOffset: last.endOffset)
        if let violation = end.advance(over: header) {
            preconditionFailure("frames of one batch must follow each other: \(violation)")
        }
    }

    /// Accepts bytes from outside: whole frames, both checksums, indexes without holes, no marks.
    /// - Complexity: O(bytes), one pass of CRC-32C.
    public init(validating bytes: [UInt8]) throws(SegmentedLogError) {
        self.init()
        var problem: (reason: String, position: Int)?
        var end: LogEnd?
        bytes.withUnsafeBytes { raw in
            var position = 0
            while position < raw.count, problem == nil {
                if let reason = accept(UnsafeRawBufferPointer(rebasing: raw[position...]), position, &end) {
                    problem = (reason, position)
                } else if let last = headers.last {
                    position += last.frameByteCount
                }
            }
        }
        if let problem {
            throw SegmentedLogError(
                .invalidFrames, "\(problem.reason); the sender must send these frames again",
                offset: UInt64(problem.position))
        }
        self.bytes = bytes
    }

    /// Takes the frame in front of `rest`; nil when it is good, else what is wrong with it.
    private mutating func accept(_ rest: UnsafeRawBufferPointer, _ position: Int, _ end: inout LogEnd?) -> String? {
        guard rest.count >= FrameHeader.byteCount, let base = rest.baseAddress else { return "a header is cut short" }
        switch FrameHeader.decode(base) {
        case .blank: return "no frame begins here"
        case .invalid(let reason): return reason
        case .unknown(let field): return "unknown \(field)"
        case .frame(let header, let checksum):
            let payloadCount = Int(header.payloadCount)
            guard rest.count - FrameHeader.byteCount >= payloadCount else { return "a payload is cut short" }
            guard strata_crc32c(0, base + FrameHeader.byteCount, payloadCount) == checksum else {
                return "a payload's checksum does not hold"
            }
            // The first frame states where the run begins; what precedes it is judged when it is appended to a log.
            var next =
                end ?? LogEnd(lastIndex: header.index &- 1, lastTerm: header.term, nextOffset: header.baseOffset)
            if let violation = next.advance(over: header) { return violation }
            end = next
            headers.append(header)
            positions.append(position)
            return nil
        }
    }

    /// Position in ``headers`` of the frame with this index, or of the first one above it.
    public func firstPosition(atOrAbove index: UInt64) -> Int {
        var low = 0
        var high = headers.count
        while low < high {
            let middle = (low + high) / 2
            if headers[middle].index < index { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Payload of the frame at a position in ``headers``.
    public func payload(_ position: Int) -> ArraySlice<UInt8> {
        let start = positions[position] + FrameHeader.byteCount
        return bytes[start..<start + Int(headers[position].payloadCount)]
    }

    /// Calls `body` with the payload's bytes, which are valid only inside the call.
    public func withPayload<Result>(_ position: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        let start = positions[position] + FrameHeader.byteCount
        let end = start + Int(headers[position].payloadCount)
        return bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start..<end])) }
    }

    /// The frames with `from <= index <= through`, copied.
    public func slice(from: UInt64, through: UInt64) -> FrameBatch {
        let first = firstPosition(atOrAbove: from)
        let end = through == .max ? headers.count : firstPosition(atOrAbove: through + 1)
        guard first < end else { return FrameBatch() }
        if first == 0 && end == headers.count { return self }
        let start = positions[first]
        let stop = end < positions.count ? positions[end] : bytes.count
        var result = FrameBatch()
        result.bytes = Array(bytes[start..<stop])
        result.headers = Array(headers[first..<end])
        result.positions = positions[first..<end].map { $0 - start }
        return result
    }
}
