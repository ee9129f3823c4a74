// What a command of `Server` says when it can't do what was asked: one sentence that names the thing and the remedy,
// and the exit status. It never carries a stack of causes: the person at the terminal reads one line.

/// A command that failed.
struct CommandError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Whose fault it is, which decides the exit status.
    enum Kind: Hashable, Sendable {
        /// The command line is wrong: exit status 64 (EX_USAGE), as ArgumentParser does.
        case usage
        /// The command line is right and the work failed: exit status 1.
        case failed
        /// Nothing is damaged, but a log ends with an interrupted write: exit status 3.
        case torn

        /// What the process ends with.
        var exitStatus: Int32 {
            switch self {
            case .usage: 64
            case .failed: 1
            case .torn: 3
            }
        }
    }

    var kind: Kind
    /// One sentence, without a full stop.
    var description: String

    static func usage(_ sentence: String) -> CommandError {
        CommandError(kind: .usage, description: sentence)
    }

    static func torn(_ sentence: String) -> CommandError {
        CommandError(kind: .torn, description: sentence)
    }

    static func failed(_ sentence: String) -> CommandError {
        CommandError(kind: .failed, description: sentence)
    }
}
