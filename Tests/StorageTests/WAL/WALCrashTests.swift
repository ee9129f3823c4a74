// The log alone on a disk that loses its power at every single change, while it writes, begins files, gives them back
// and while it is opened again: what was acknowledged as durable is there, the rest is a prefix.
import SimulatedIO
import Testing

@testable import Storage

@Suite struct WALCrashTests {
    /// What the outside knows of a log.
    private struct Known {
        var durable: UInt64 = 0
        /// What the store's own files are taken to hold; durable too.
        var flushed: UInt64 = 0
        var isOver = false
        var least: UInt64 { max(durable, flushed) }
    }

    #if DEBUG
    private static let laterCuts = [2, 8]
    private static let seeds: ClosedRange<UInt64> = 1...1
    #else
    private static let laterCuts = [1, 2, 3, 4, 5, 6, 7, 8, 12, 30]
    private static let seeds: ClosedRange<UInt64> = 1...50
    #endif

    /// Writes up to record `last`, until the power goes.
    private static func run(
        _ log: TestLog, _ known: inout Known, upTo last: UInt64, powerEvery: UInt64, _ note: String
    ) throws {
        do {
            var (writer, newest) = try log.open(flushed: known.flushed, note)
            while newest < last {
                let level: Durability =
                    powerEvery > 0 && (newest + 1) % powerEvery == 0 ? .power : newest % 2 == 0 ? .process : .none
                newest = try log.write(&writer, level)
                if level == .power { known.durable = newest }
                if newest % 13 == 0 { known.flushed = newest - 5 }
                if newest % 3 == 0 { _ = try writer.trim(flushed: known.flushed) }
            }
            known.isOver = true
        } catch StorageError.io {
        } catch StorageError.readOnly {
            // A mark that could not be written is told to whoever writes next.
        }
    }

    @Test(arguments: [0, 1, 5, 23] as [UInt64], seeds) func powerGoesAtEveryChange(
        powerEvery: UInt64, seed: UInt64
    ) throws {
        var cut = 1
        while true {
            let note = "seed \(seed), power every \(powerEvery), cut \(cut)"
            let system = SimulatedFileSystem(seed: seed << 32 + UInt64(cut) &* 31 &+ powerEvery)
            var log = TestLog(system)
            log.sizes = [5000, 10, 9000, 0, 300]
            var known = Known()
            system.cutPower(afterChanges: cut)
            try Self.run(log, &known, upTo: 60, powerEvery: powerEvery, note)
            if known.isOver { break }
            // Again while it is opened, and shortly after.
            for again in Self.laterCuts {
                system.crash()
                system.cutPower(afterChanges: again)
                let before = known.least
                try Self.run(log, &known, upTo: 60, powerEvery: powerEvery, "\(note), then \(again)")
                #expect(known.least >= before)
            }
            system.crash()
            let last = try log.open(flushed: known.flushed, note).last
            #expect(last >= known.least, "\(note): \(last) of \(known.least)")
            cut += 1
        }
        #expect(cut > 20)
    }
}
