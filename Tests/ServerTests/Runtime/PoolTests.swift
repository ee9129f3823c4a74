// Pools of threads: what belongs to requests is bounded, and one pool's work never waits for another's.
import Cluster
import Foundation
import StrataNode
import Synchronization
import Testing

@testable import Server

@Suite struct PoolTests {
    @Test func aFullPoolRefusesRequestsAndKeepsWhatItTook() throws {
        let pool = BlockingPool(name: "test-pool", threads: 1)
        let gate = DispatchSemaphore(value: 0)
        let counter = Counter()
        pool.run { gate.wait() }
        var taken = 0
        while pool.offer({ counter.value.add(1, ordering: .relaxed) }) {
            taken += 1
            if taken > 2 * BlockingPool.queueMax { break }
        }
        #expect(taken >= BlockingPool.queueMax - 1 && taken <= BlockingPool.queueMax)
        gate.signal()
        pool.stop()
        #expect(counter.value.load(ordering: .relaxed) == taken)
        #expect(!pool.offer {})
    }

    private final class Counter: Sendable {
        let value = Atomic<Int>(0)
    }

    @Test func aQuarterOfTheDescriptorsIsKeptForOthers() {
        #expect(GroupBudget.partitions(within: 1024) == 384)
        #expect(GroupBudget.partitions(within: 20_000) == 7500)
        #expect(GroupBudget.partitions(within: 100) == 0)
        #expect(GroupBudget.partitions(within: .max) == 6_917_529_027_641_081_856)
    }

    @Test func theSoftLimitOfOpenFilesIsRaised() {
        var limit = rlimit()
        _ = DescriptorLimit.raise()
        #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
        #expect(limit.rlim_cur == limit.rlim_max)
    }
}
