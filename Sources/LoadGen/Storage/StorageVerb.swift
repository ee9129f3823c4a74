// The verbs of `LoadGen storage`, named as in RocksDB's db_bench, so that one command line can be typed to both.
import ArgumentParser

/// One measurement, or one step between measurements.
enum StorageVerb: String, CaseIterable, ExpressibleByArgument {
    case fillseq, fillrandom, overwrite, fillsync
    case readrandom, multireadrandom, readmissing, readseq, seekrandom, readwhilewriting
    case compact, flush, waitforcompaction
    /// Not of db_bench: puts, gets and scans together, for memory under load; see --duration, --rate, --memory-budget.
    case mixed
    /// Not of db_bench: what the page cache holds of the store is written and dropped, so that the next verb reads
    /// cold.
    case dropcache

    /// Begins with an empty store unless --use-existing-db was given.
    var startsFresh: Bool {
        switch self {
        case .fillseq, .fillrandom, .fillsync: true
        default: false
        }
    }

    var writes: Bool {
        switch self {
        case .fillseq, .fillrandom, .overwrite, .fillsync, .readwhilewriting, .mixed: true
        default: false
        }
    }

    /// Walks keys in order or merges levels, which only an ordered engine has.
    var needsOrder: Bool {
        switch self {
        case .readseq, .seekrandom, .multireadrandom, .compact: true
        default: false
        }
    }

    /// What one operation is, for labels.
    var operation: String {
        switch self {
        case .fillseq, .fillrandom, .overwrite, .fillsync: "put"
        case .readrandom, .multireadrandom, .readmissing, .readwhilewriting: "get"
        case .mixed: "mixed"
        case .readseq: "next"
        case .seekrandom: "seek"
        case .compact, .flush, .waitforcompaction, .dropcache: rawValue
        }
    }

    /// Runs once and by itself, whatever --threads and --num say.
    var isSingle: Bool {
        switch self {
        case .compact, .flush, .waitforcompaction, .dropcache: true
        default: false
        }
    }
}
