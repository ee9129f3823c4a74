// The topics of this node, readable from every thread, written by the controller's state machine only.
public import Cluster
import Synchronization

/// Topics by name, and the local partitions by group.
public final class TopicTable: Sendable {
    private struct Content {
        var topics: [String: TopicRecord] = [:]
        var partitions: [GroupID: Partition] = [:]
        /// The same, sorted by group.
        var sorted: [Partition] = []
    }
    private let content = Mutex(Content())

    public init() {}

    public func record(_ name: String) -> TopicRecord? {
        content.withLock { $0.topics[name] }
    }

    /// All topics, sorted by name.
    public var records: [TopicRecord] {
        content.withLock { $0.topics.values.sorted { $0.name < $1.name } }
    }

    public func partition(_ group: GroupID) -> Partition? {
        content.withLock { $0.partitions[group] }
    }

    /// All local partitions, sorted by group.
    public var partitions: [Partition] {
        content.withLock { $0.sorted }
    }

    func insert(_ record: TopicRecord) {
        content.withLock { $0.topics[record.name] = record }
    }

    public func insert(_ partition: Partition) {
        content.withLock { content in
            content.partitions[partition.group] = partition
            content.sorted.removeAll { $0.group == partition.group }
            let position = content.sorted.firstIndex { $0.group > partition.group } ?? content.sorted.endIndex
            content.sorted.insert(partition, at: position)
        }
    }
}
