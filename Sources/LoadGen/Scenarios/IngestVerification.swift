// Reads the ingest topic back from its beginning and compares every batch with what was acknowledged.
import LabKit
import Records
import StrataClient
import Synchronization

enum IngestVerification {
    private static let requestTimeout = Duration.seconds(30)

    /// Adds what it finds to `result`.
    static func run(
        _ plan: IngestPlan, ledgers: [IngestLedger], live: LiveCounters, into result: VerificationResult
    ) async throws -> VerificationResult {
        var options = ClientOptions()
        options.requestTimeout = requestTimeout
        let client = try StrataClient(endpoints: plan.endpoints, options: options)
        var result = result
        do {
            try await IngestScenario.waitForLeaders(plan, client)
            for (number, ledger) in ledgers.enumerated() {
                try Interruption.check()
                let found = try await read(plan, UInt32(number), client, live)
                judge(found, ledger, plan, partition: number, into: &result)
            }
        } catch {
            await client.close()
            throw error
        }
        await client.close()
        return result
    }

    private struct Found {
        var batches: [IngestLedger.Entry] = []
        /// Offsets of batches that this run did not write, or that came back changed.
        var foreign: [UInt64] = []
    }

    private static func read(
        _ plan: IngestPlan, _ partition: UInt32, _ client: StrataClient, _ live: LiveCounters
    ) async throws -> Found {
        let codec = plan.codec(partition)
        let found = Mutex(Found())
        try await client.consumeBatches(topic: plan.topic, partition: partition, from: .earliest) { message in
            try Interruption.check()
            var next: UInt64 = 0
            for view in try RecordBatchView.batches(in: message.bytes) {
                let offset = UInt64(bitPattern: view.baseOffset)
                next = view.endOffset
                found.withLock { found in
                    // A broken stream is resumed at a batch's end; what came twice over the wire is not twice in the
                    // log.
                    if let last = found.batches.last?.baseOffset, offset <= last { return }
                    if let batch = codec.batch(in: view.bytes) {
                        found.batches.append(IngestLedger.Entry(baseOffset: offset, batch: batch))
                    } else {
                        found.foreign.append(offset)
                    }
                }
                live.add(ok: UInt64(view.count))
            }
            return next
        }
        return found.withLock { $0 }
    }

    private static func judge(
        _ found: Found, _ ledger: IngestLedger, _ plan: IngestPlan, partition: Int,
        into result: inout VerificationResult
    ) {
        let records = UInt64(plan.recordsPerBatch)
        let verdict = ledger.judge(found: found.batches)
        result.recordsChecked += verdict.checked * records
        result.recordsLost += UInt64(verdict.lost.count) * records
        result.recordsCorrupt += UInt64(verdict.misplaced.count + found.foreign.count) * records
        result.recordsDuplicated += UInt64(verdict.duplicated.count) * records
        result.unknownFound += verdict.unknownFound * records
        let name = "\(plan.topic)-\(partition)"
        for entry in verdict.lost {
            result.note("\(name): batch \(entry.batch), acknowledged at offset \(entry.baseOffset), is not in the log")
        }
        for entry in verdict.misplaced {
            result.note("\(name): batch \(entry.batch) is at offset \(entry.baseOffset), where it must not be")
        }
        for entry in verdict.duplicated {
            result.note("\(name): batch \(entry.batch) is in the log again at offset \(entry.baseOffset)")
        }
        for offset in found.foreign {
            result.note("\(name): the batch at offset \(offset) is none that was written")
        }
    }
}
