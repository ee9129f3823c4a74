// Why LoadGen stops, with the exit code that says it to scripts.

/// A failure that ends the run.
enum LoadGenError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The command line is wrong.
    case usage(String)
    /// The system under test could not be started or reached, or behaves as it must not.
    case cluster(String)
    /// LoadGen itself could not do its work.
    case failed(String)
    /// The user asked to stop.
    case interrupted

    var description: String {
        switch self {
        case .usage(let sentence), .cluster(let sentence), .failed(let sentence): sentence
        case .interrupted: "interrupted"
        }
    }

    var exitCode: ExitStatus {
        switch self {
        case .usage: .usage
        case .cluster, .failed: .failed
        case .interrupted: .interrupted
        }
    }
}

/// What LoadGen tells its caller.
enum ExitStatus: Int32 {
    case success = 0
    /// Something broke that is not the data.
    case failed = 1
    case usage = 2
    /// An acknowledged write is missing or wrong.
    case dataLost = 3
    /// The run is not valid and `--strict` was given.
    case invalid = 4
    case interrupted = 130
}
