// The log's format written a second time, slowly and from the description in Docs/Formats: what the tests hold the
// engine's own encoder against.
import CEngine

@testable import Storage

extension [UInt8] {
    /// Appends a frame that will stand at `position`, padded to 8 bytes.
    mutating func appendFrame(
        _ kind: WALFrameKind, _ payload: UnsafeRawBufferPointer, log number: UInt64, at position: Int,
        syncedOffset: UInt64
    ) {
        let start = count
        append(littleEndian: UInt32(0))
        append(littleEndian: UInt16(payload.count))
        append(kind.rawValue)
        append(0)
        append(littleEndian: UInt32(truncatingIfNeeded: number))
        append(littleEndian: UInt32(truncatingIfNeeded: position / 8))
        append(littleEndian: syncedOffset)
        append(contentsOf: payload)
        let checksum = withUnsafeBytes { strata_crc32c_software(0, $0.baseAddress! + start + 4, $0.count - start - 4) }
        store(littleEndian: checksum, at: start)
        while (count - start) % 8 != 0 { append(0) }
    }

    /// Appends zeros up to where a frame may begin.
    mutating func padToFrame(at position: Int) {
        append(contentsOf: repeatElement(0, count: WALFrame.start(from: position) - position))
    }

    /// Appends a record's frames; the first byte of the array stands at `origin` of the log.
    mutating func appendRecord(
        _ record: UnsafeRawBufferPointer, log number: UInt64, origin: Int, syncedOffset: UInt64
    ) {
        var rest = record
        var isFirst = true
        repeat {
            padToFrame(at: origin + count)
            let position = origin + count
            let room = WALFrame.blockBytes - position % WALFrame.blockBytes - WALFrame.headerBytes
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(room))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(room))
            let kind: WALFrameKind =
                switch (isFirst, rest.isEmpty) {
                case (true, true): .full
                case (true, false): .first
                case (false, false): .middle
                case (false, true): .last
                }
            appendFrame(kind, piece, log: number, at: position, syncedOffset: syncedOffset)
            isFirst = false
        } while !rest.isEmpty
    }
}
