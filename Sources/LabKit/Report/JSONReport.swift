// run.json: the whole report, snake_case, keys sorted, so that two files can be compared line by line.
internal import Foundation

/// Encoding and decoding of run.json.
public enum JSONReport {
    /// The report plus `valid`, which readers should not have to work out.
    private struct Envelope: Encodable {
        var report: RunReport

        private enum Key: String, CodingKey {
            case valid
        }

        func encode(to encoder: any Encoder) throws {
            try report.encode(to: encoder)
            var fields = encoder.container(keyedBy: Key.self)
            try fields.encode(report.valid, forKey: .valid)
        }
    }

    public static func encode(_ report: RunReport) throws(LabError) -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(Envelope(report: report)), as: UTF8.self) + "\n"
        } catch {
            throw LabError("the report could not be written as JSON: \(error)")
        }
    }

    public static func decode(_ text: String) throws(LabError) -> RunReport {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let report: RunReport
        do {
            report = try decoder.decode(RunReport.self, from: Data(text.utf8))
        } catch {
            throw LabError("this is not a report of LoadGen: \(error)")
        }
        guard report.schema == RunReport.schemaName else {
            throw LabError("this report has schema \(report.schema); this version reads \(RunReport.schemaName) only")
        }
        return report
    }
}
