// Whether the frames of a received append can stand in this group's log. The core judges indexes and terms; it knows no
// offsets. Frames whose offsets contradict the log would be refused by the log itself, on the writer's thread, where a
// refusal means a damaged disk and ends the node: a peer's mistake must not do that.
import Raft
import SegmentedLog

extension Group {
    /// What is wrong with the frames of an append; nil when they fit, or when the core is going to refuse them anyway.
    ///
    /// Offsets are compared at the first entry that memory knows, where both logs are the same up to the entry before.
    func contradiction(in frames: FrameBatch, of append: Message) -> String? {
        guard let first = frames.headers.first else { return nil }
        // The core leaves out what is committed here, and the entry before may be gone.
        let isBehind = append.index < core.commitIndex
        guard isBehind || core.term(at: append.index) == append.logTerm else { return nil }
        // Entries before the tail are applied, so every leader has the same.
        var place = max(first.index, min(tail.firstIndex ?? .max, core.lastIndex + 1))
        if isBehind { place = max(place, core.commitIndex + 1) }
        guard place <= frames.lastIndex else { return nil }
        let position = frames.firstPosition(atOrAbove: place)
        if place > first.index, core.term(at: place - 1) != frames.headers[position - 1].term { return nil }
        let expected = tail.header(at: place)?.baseOffset ?? nextOffset
        let offset = frames.headers[position].baseOffset
        guard offset != expected else { return nil }
        return "entry \(place) comes with offset \(offset) where \(expected) is due"
    }
}
