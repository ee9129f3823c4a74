// Between the records of the gRPC API and the record batches of the log. Only Produce with `records` and Consume come
// through here; the fast paths carry batches as they are.
import Broker
import Cluster
import Foundation
import Records
import StrataProtocol
import SwiftProtobuf

extension Strata_V1_ProduceRequest {
    /// The last millisecond of the year 9999, which every client's date type can hold.
    private static let timestampMsMax: Int64 = 253_402_300_799_999

    /// The batch to append: the one that was sent, or one built from the records.
    /// - Parameter now: milliseconds since 1970, for records without a time.
    func batch(now: Int64) throws(RequestError) -> [UInt8] {
        guard records.isEmpty else {
            guard recordBatch.isEmpty else {
                throw .invalid(.corruptBatch, "a request holds records or a record batch, not both")
            }
            return try encodedRecords(now: now)
        }
        guard !recordBatch.isEmpty else {
            throw .invalid(.corruptBatch, "the request holds no records; send at least one")
        }
        return Array(recordBatch)
    }

    private func encodedRecords(now: Int64) throws(RequestError) -> [UInt8] {
        var batch = RecordBatch()
        for (index, record) in records.enumerated() {
            guard (0...Self.timestampMsMax).contains(record.timestampMs) else {
                throw .invalid(
                    .corruptBatch,
                    "record \(index) has the time \(record.timestampMs); give milliseconds since 1970, or 0 for now")
            }
            batch.append(
                key: record.hasKey ? Array(record.key) : nil, value: record.hasValue ? Array(record.value) : nil,
                headers: record.headers.map { RecordHeader(key: $0.key, value: Array($0.value)) },
                timestamp: record.timestampMs == 0 ? now : record.timestampMs)
            guard batch.byteCount <= BrokerLimits.batchBytesMax else {
                throw .invalid(
                    .batchTooLarge,
                    "the records make a batch of more than \(BrokerLimits.batchBytesMax) bytes; send fewer at a time")
            }
        }
        return batch.encoded()
    }
}

extension Strata_V1_LogEntry {
    init(_ record: Record, highWatermark: UInt64) {
        self.init()
        offset = record.offset
        timestampMs = record.timestamp
        if let key = record.key { self.key = Data(key) }
        if let value = record.value { self.value = Data(value) }
        headers = record.headers.map { header in
            .with {
                $0.key = header.key
                $0.value = Data(header.value ?? [])
            }
        }
        self.highWatermark = highWatermark
    }
}
